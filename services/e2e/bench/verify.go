//go:build cgo && duckdb_arrow

package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"maps"
	"slices"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	ingestionv1 "millrace.dev/gen/millrace/ingestion/v1"
)

// samples is how many profiles, or customers with their events, are compared with the source.
const samples = 50

// opener opens the source for verification.
type opener func() (*sql.DB, error)

func duckUsers(path string) opener {
	return func() (*sql.DB, error) {
		db, err := sql.Open("duckdb", path+"?access_mode=read_only")
		if err != nil {
			return nil, fmt.Errorf("open the source: %w", err)
		}
		return db, nil
	}
}

// step is the distance of sampled customers among n.
func step(n int64) int64 { return max(20, n/samples) }

// verifyUsers compares the number of profiles, and value by value those of a condition in SQL, with the source.
func verifyUsers(ctx context.Context, s *system, n int64, sample string, open opener) (_ verified, err error) {
	digest, err := s.digest(ctx)
	if err != nil {
		return verified{}, err
	}
	if digest.GetProfiles() != n || digest.GetIdentities() != 2*n {
		return verified{}, fmt.Errorf("%d profiles with %d identities for %d users", digest.GetProfiles(), digest.GetIdentities(), n) //nolint:err113 // for people
	}
	db, err := open()
	if err != nil {
		return verified{}, err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	rows, err := db.QueryContext(ctx, "SELECT customer_id, email, first_name, last_name, city, plan, ltv, visits, active FROM users WHERE "+sample) //nolint:gosec // a condition of ours
	if err != nil {
		return verified{}, fmt.Errorf("read the source: %w", err)
	}
	defer rows.Close()
	v := verified{Stored: digest.GetProfiles(), digest: digest.GetDigest()}
	for rows.Next() {
		var (
			id, visits              int64
			email                   string
			first, last, city, plan string
			ltv                     float64
			active                  bool
		)
		if err := rows.Scan(&id, &email, &first, &last, &city, &plan, &ltv, &visits, &active); err != nil {
			return verified{}, fmt.Errorf("read the source: %w", err)
		}
		want := map[string]any{"$firstname": first, "$lastname": last, "city": city, "plan": plan, "ltv": ltv, "visits": float64(visits), "active": active}
		for typ, value := range map[string]string{"customer_id": fmt.Sprint(id), "email": email} {
			res, err := s.ingestion.GetProfile(ctx, &ingestionv1.GetProfileRequest{Identity: &ingestionv1.Identity{Type: typ, Value: value}})
			if err != nil {
				return verified{}, fmt.Errorf("profile of customer %d: %w", id, err)
			}
			if got := res.GetProfile().GetUserAttributes().AsMap(); !maps.Equal(got, want) {
				return verified{}, fmt.Errorf("customer %d has %v and should have %v", id, got, want) //nolint:err113 // generated data
			}
		}
		v.Sampled++
	}
	if err := rows.Err(); err != nil {
		return verified{}, fmt.Errorf("read the source: %w", err)
	}
	if v.Sampled == 0 {
		return verified{}, fmt.Errorf("no user is such that %s", sample) //nolint:err113 // for people
	}
	return v, nil
}

// gone answers an error where a sample of the customers that were n before and are the rest of a division by 500 still
// has profiles.
func (s *system) gone(ctx context.Context, n, rest int64) error {
	for i := range int64(samples) {
		id := rest + i*(n/500/samples)*500
		_, err := s.ingestion.GetProfile(ctx, &ingestionv1.GetProfileRequest{Identity: &ingestionv1.Identity{Type: "customer_id", Value: fmt.Sprint(id)}})
		if status.Code(err) != codes.NotFound {
			return fmt.Errorf("customer %d was deleted from the source, and its profile answers %v", id, err) //nolint:errorlint,err113 // nil as well
		}
	}
	return nil
}

// verifyEvents compares the number of events, and all events of a sample of customers, with the source.
func verifyEvents(ctx context.Context, s *system, n int64, path string) (_ verified, err error) {
	digest, err := s.digest(ctx)
	if err != nil {
		return verified{}, err
	}
	if digest.GetEvents() != n {
		return verified{}, fmt.Errorf("%d events for %d rows", digest.GetEvents(), n) //nolint:err113 // for people
	}
	db, err := duckUsers(path)()
	if err != nil {
		return verified{}, err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	v := verified{Stored: digest.GetEvents()}
	for customer := range samples {
		if err := sameEvents(ctx, s, db, 1+customer*1999%100_000); err != nil {
			return verified{}, fmt.Errorf("events of customer %d: %w", customer, err)
		}
		v.Sampled++
	}
	return v, nil
}

func sameEvents(ctx context.Context, s *system, db *sql.DB, customer int) error {
	rows, err := db.QueryContext(ctx, "SELECT name || ' ' || epoch_ms(\"at\") || ' ' || CAST(amount AS TEXT) || ' ' || sku || ' ' || quantity FROM events WHERE customer_id = ?", customer)
	if err != nil {
		return fmt.Errorf("read the source: %w", err)
	}
	defer rows.Close()
	var want, got []string
	for rows.Next() {
		var line string
		if err := rows.Scan(&line); err != nil {
			return fmt.Errorf("read the source: %w", err)
		}
		want = append(want, line)
	}
	if err := rows.Err(); err != nil {
		return fmt.Errorf("read the source: %w", err)
	}
	res, err := s.ingestion.ListProfileEvents(ctx, &ingestionv1.ListProfileEventsRequest{
		Identity: &ingestionv1.Identity{Type: "customer_id", Value: fmt.Sprint(customer)}, PageSize: 1000,
	})
	if err != nil {
		if len(want) == 0 {
			return nil
		}
		return fmt.Errorf("list: %w", err)
	}
	for _, e := range res.GetEvents() {
		data := e.GetData().AsMap()
		a, _ := data["custom_attributes"].(map[string]any)
		got = append(got, fmt.Sprintf("%v %.0f %v %v %v", data["event_name"], data["timestamp_unixtime_ms"], a["amount"], a["sku"], a["quantity"]))
	}
	slices.Sort(want)
	slices.Sort(got)
	if !slices.Equal(want, got) {
		return fmt.Errorf("%d in the source, %d in the store, or other values", len(want), len(got)) //nolint:err113 // for people
	}
	return nil
}
