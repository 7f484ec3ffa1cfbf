package config_test

import (
	"context"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/encoding/prototext"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/dynamicpb"

	configv1 "millrace.dev/gen/millrace/config/v1"
	"millrace.dev/pkg/fault"
	"millrace.dev/pkg/resource/resourcepb"
	"millrace.dev/pkg/secret"
)

func plain(s string) *configv1.Secret {
	return &configv1.Secret{Value: &configv1.Secret_Plain{Plain: s}}
}

func postgres(password *configv1.Secret) *configv1.Connection {
	return &configv1.Connection{Meta: &configv1.Meta{Id: "app_db"}, Provider: &configv1.Connection_Postgres{Postgres: &configv1.Postgres{
		Host: "127.0.0.1", Database: "app", User: "millrace", Sslmode: "disable", Password: password,
	}}}
}

// TestNoMethodAnswersASecret calls every method of the service with a canary wherever a text may stand, in requests that
// name what is there, and looks for it in answers, errors and the log.
func TestNoMethodAnswersASecret(t *testing.T) {
	onBoth(t, func(t *testing.T, h *house) {
		_, err := h.CreateConnection(t.Context(), &configv1.CreateConnectionRequest{Connection: postgres(plain(canary))})
		require.NoError(t, err)
		h.mustApply(t, "kind: DataModel\nid: app_db\nconnection: app_db\nrecord_kind: users\ntable: t\n---\nkind: Sync\nid: app_db\ndata_model: app_db\nmode: full\n")
		h.mustApply(t, "kind: Mapping\nid: app_db\nrules: [{ignore: a}]\n---\nkind: Feed\nid: app_db\n")
		_, err = h.CreateAlert(t.Context(), &configv1.CreateAlertRequest{Alert: alert(plain(longCanary))})
		require.NoError(t, err)

		d, err := protoregistry.GlobalFiles.FindDescriptorByName("millrace.config.v1.ConfigService")
		require.NoError(t, err)
		methods := d.(protoreflect.ServiceDescriptor).Methods() //nolint:forcetypeassert // it is one
		require.Positive(t, methods.Len())
		seen := 0
		for _, name := range callOrder(methods) {
			m := methods.ByName(protoreflect.Name(name))
			for _, request := range canaryRequests(h, m) {
				seen++
				requireNoCanary(t, h, m, request)
			}
		}
		require.GreaterOrEqual(t, seen, methods.Len())
		require.NotContains(t, h.log.String(), canary)
		require.NotEmpty(t, h.warehouse.sealed)
		for _, sealed := range h.warehouse.sealed {
			require.NotContains(t, string(sealed), canary)
		}
	})
}

// callOrder puts deletions last, so that there is something to answer for.
func callOrder(methods protoreflect.MethodDescriptors) []string {
	var first, last []string
	for i := range methods.Len() {
		name := string(methods.Get(i).Name())
		if strings.HasPrefix(name, "Delete") {
			last = append(last, name)
			continue
		}
		first = append(first, name)
	}
	return append(first, last...)
}

// canaryRequests answers a request that names what is there with the canary in its secrets, and further ones that are
// taken.
func canaryRequests(h *house, m protoreflect.MethodDescriptor) []proto.Message {
	named := dynamicpb.NewMessage(m.Input())
	fill(named, 0)
	out := []proto.Message{named}
	switch m.Name() {
	case "Apply":
		doc := "kind: Connection\nid: app_db\npostgres: {host: h, database: d, user: u, sslmode: disable, password: {env: PGPASSWORD}}\n---\n" +
			"kind: Connection\nid: literal\npostgres: {host: h, database: d, user: u, client_key: " + canary + ", password: " + canary + "}\n"
		out = append(out, &configv1.ApplyRequest{Documents: []*configv1.Document{{File: "a.yaml", Content: doc, Secrets: map[string]string{"env:PGPASSWORD": canary}}}})
	case "UpdateConnection":
		got, err := h.GetConnection(context.Background(), &configv1.GetConnectionRequest{Id: "app_db"})
		if err == nil {
			c := got.GetConnection()
			c.GetPostgres().Password, c.GetPostgres().ClientKey = plain(canary+"2"), plain(canary)
			out = append(out, &configv1.UpdateConnectionRequest{Connection: c, UpdateMask: mask("*")})
			c = proto.CloneOf(c)
			c.GetPostgres().ClientKey = nil
			out = append(out, &configv1.UpdateConnectionRequest{Connection: c, UpdateMask: mask("*")})
		}
	case "CreateAlert":
		a := alert(plain(longCanary))
		a.Meta.Id = "another"
		out = append(out, &configv1.CreateAlertRequest{Alert: a})
	case "UpdateAlert":
		got, err := h.GetAlert(context.Background(), &configv1.GetAlertRequest{Id: "app_db"})
		if err == nil {
			a := got.GetAlert()
			a.GetWebhook().Secret = plain(longCanary + "2")
			out = append(out, &configv1.UpdateAlertRequest{Alert: a, UpdateMask: mask("*")})
		}
	case "GetSyncSnapshot":
		out = append(out, &configv1.GetSyncSnapshotRequest{Sync: "app_db"})
	}
	return out
}

// fill writes `app_db` into ids and references, and the canary into secrets and documents.
func fill(m protoreflect.Message, depth int) {
	if depth > 4 {
		return
	}
	fields := m.Descriptor().Fields()
	for i := range fields.Len() {
		f := fields.Get(i)
		switch {
		case f.Message() != nil && f.Message().ParentFile().Package() == "google.protobuf":
		case f.IsList() && f.Message() != nil:
			l := m.Mutable(f).List()
			e := l.NewElement()
			fill(e.Message(), depth+1)
			l.Append(e)
		case f.IsMap() || f.IsList():
		case f.Message() != nil:
			fill(m.Mutable(f).Message(), depth+1)
		case f.Kind() != protoreflect.StringKind:
		case f.Name() == "plain" || f.Name() == "content":
			m.Set(f, protoreflect.ValueOfString(canary))
		case f.Name() == "id" || f.Name() == "sync" || f.Name() == "connection" || f.Name() == "data_model":
			m.Set(f, protoreflect.ValueOfString("app_db"))
		}
	}
}

func requireNoCanary(t *testing.T, h *house, m protoreflect.MethodDescriptor, request proto.Message) {
	t.Helper()
	response := dynamicpb.NewMessage(m.Output())
	method := "/" + string(m.Parent().FullName()) + "/" + string(m.Name())
	err := h.conn.Invoke(t.Context(), method, request, response, grpc.StaticMethod())
	if err != nil {
		e := fault.As(fault.FromStatus(err))
		require.NotEqual(t, fault.Internal, e.Class, "%s: %s", m.Name(), e.Message)
		require.NotContains(t, err.Error(), canary, m.Name())
		for _, v := range e.Violations {
			require.NotContains(t, v.String(), canary, m.Name())
		}
		return
	}
	text := prototext.Format(response)
	require.NotContains(t, text, canary, m.Name())
	require.NotContains(t, text, "plain:", m.Name())
	if m.Name() != "GetSyncSnapshot" && m.Name() != "ListSealedAlerts" {
		require.NotContains(t, text, "sealed:", m.Name())
	}
}

func TestSecretsAreKeptChangedAndTakenAway(t *testing.T) {
	onBoth(t, func(t *testing.T, h *house) {
		ctx := t.Context()
		created, err := h.CreateConnection(ctx, &configv1.CreateConnectionRequest{Connection: postgres(plain(canary))})
		require.NoError(t, err)
		c := created.GetConnection()
		require.True(t, c.GetPostgres().GetPassword().GetKept())
		require.Equal(t, canary, h.password(t))

		c.GetPostgres().Database, c.GetPostgres().Password = "elsewhere", nil
		updated, err := h.UpdateConnection(ctx, &configv1.UpdateConnectionRequest{Connection: c, UpdateMask: mask("*")})
		require.NoError(t, err)
		c = updated.GetConnection()
		require.Equal(t, "elsewhere", c.GetPostgres().GetDatabase())
		require.Equal(t, canary, h.password(t), "left out is kept")

		updated, err = h.UpdateConnection(ctx, &configv1.UpdateConnectionRequest{Connection: c, UpdateMask: mask("postgres.password")})
		require.NoError(t, err)
		require.Equal(t, canary, h.password(t), "kept is kept")
		c = updated.GetConnection()

		c.GetPostgres().Password = plain("another")
		updated, err = h.UpdateConnection(ctx, &configv1.UpdateConnectionRequest{Connection: c, UpdateMask: mask("postgres.password")})
		require.NoError(t, err)
		require.Equal(t, "another", h.password(t))
		c = updated.GetConnection()

		c.GetPostgres().Password = nil
		updated, err = h.UpdateConnection(ctx, &configv1.UpdateConnectionRequest{Connection: c, UpdateMask: mask("postgres.password")})
		require.NoError(t, err)
		require.Nil(t, updated.GetConnection().GetPostgres().GetPassword(), "named and left out is taken away")
		require.Empty(t, h.password(t))
	})
}

func TestAnUpdateTakesNoKeptSecretElsewhere(t *testing.T) {
	onBoth(t, func(t *testing.T, h *house) {
		ctx := t.Context()
		created, err := h.CreateConnection(ctx, &configv1.CreateConnectionRequest{Connection: postgres(plain(canary))})
		require.NoError(t, err)
		c := created.GetConnection() // its password is kept
		c.GetPostgres().Host = "elsewhere"
		for _, fields := range []string{"postgres.host", "postgres.password,postgres.host", "*"} {
			_, err = h.UpdateConnection(ctx, &configv1.UpdateConnectionRequest{Connection: c, UpdateMask: mask(strings.Split(fields, ",")...)})
			e := refusal(t, err, fault.Invalid, fault.ReasonInvalidArgument)
			require.Equal(t, []string{"Connection app_db postgres.host: is another than before, and a secret that is kept does not go elsewhere; give postgres.password again"}, texts(e))
		}
		require.Equal(t, canary, h.password(t))
		c.GetPostgres().Password = plain(canary)
		updated, err := h.UpdateConnection(ctx, &configv1.UpdateConnectionRequest{Connection: c, UpdateMask: mask("*")})
		require.NoError(t, err, "the same one, given anew")
		require.Equal(t, canary, h.password(t))
		c = updated.GetConnection()
		c.GetPostgres().Host, c.GetPostgres().Password = "127.0.0.1", nil
		_, err = h.UpdateConnection(ctx, &configv1.UpdateConnectionRequest{Connection: c, UpdateMask: mask("postgres.host", "postgres.password")})
		require.NoError(t, err, "it is taken away")
		require.Empty(t, h.password(t))
	})
}

// password answers the password that workers would get, by the key set that they share.
func (h *house) password(t *testing.T) string {
	t.Helper()
	_, err := h.TestConnection(t.Context(), &configv1.TestConnectionRequest{Id: "app_db"})
	require.NoError(t, err)
	sealed := h.warehouse.sealed[len(h.warehouse.sealed)-1]
	if len(sealed) == 0 {
		return ""
	}
	keys, err := secret.Open(t.Context(), "file:"+h.data+"/keys.json")
	require.NoError(t, err)
	text, err := keys.Unseal(sealed, secret.AAD("default", "app_db", "postgres.password"))
	require.NoError(t, err)
	return string(text)
}

func TestASealedSecretIsNotTakenFromACaller(t *testing.T) {
	onBoth(t, func(t *testing.T, h *house) {
		sealed := &configv1.Secret{Value: &configv1.Secret_Sealed{Sealed: []byte("x")}}
		_, err := h.CreateConnection(t.Context(), &configv1.CreateConnectionRequest{Connection: postgres(sealed)})
		e := refusal(t, err, fault.Invalid, fault.ReasonInvalidArgument)
		require.Equal(t, "postgres.password", e.Violations[0].Field)
		kept := &configv1.Secret{Value: &configv1.Secret_Kept{Kept: true}}
		_, err = h.CreateConnection(t.Context(), &configv1.CreateConnectionRequest{Connection: postgres(kept)})
		e = refusal(t, err, fault.Invalid, fault.ReasonInvalidArgument)
		require.Equal(t, "Connection app_db postgres.password: nothing is stored that could be kept; give the secret", e.Violations[0].String())
	})
}

func TestSnapshotsCarrySealedSecrets(t *testing.T) {
	onBoth(t, func(t *testing.T, h *house) {
		h.mustApply(t, "kind: Connection\nid: app_db\npostgres: {host: h, database: d, user: u, password: {env: PGPASSWORD}}\n---\n"+
			"kind: DataModel\nid: m\nconnection: app_db\nrecord_kind: users\ntable: t\n---\nkind: Sync\nid: s\ndata_model: m\nmode: full\n")
		r, err := h.GetSyncSnapshot(t.Context(), &configv1.GetSyncSnapshotRequest{Sync: "s"})
		require.NoError(t, err)
		keys, err := secret.Open(t.Context(), "file:"+h.data+"/keys.json")
		require.NoError(t, err)
		open, err := keys.OpenConnection(resourcepb.OfSnapshot(r.GetSnapshot()).Connection)
		require.NoError(t, err)
		require.Equal(t, canary, open.Postgres.Password.Plain)
	})
}
