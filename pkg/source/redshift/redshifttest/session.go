package redshifttest

import (
	"context"
	"crypto/md5" //nolint:gosec // the protocol's
	"crypto/rand"
	"crypto/tls"
	"encoding/hex"
	"net"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgproto3"
)

// flushAt is how many messages are sent on at once.
const flushAt = 256

func (p *Peer) accept() {
	for {
		c, err := p.listener.Accept()
		if err != nil {
			return
		}
		p.mu.Lock()
		if p.closed {
			p.mu.Unlock()
			_ = c.Close()
			return
		}
		p.conns[c] = true
		p.mu.Unlock()
		p.sessions.Go(func() {
			p.session(c)
			_ = c.Close()
			p.mu.Lock()
			delete(p.conns, c)
			p.mu.Unlock()
		})
	}
}

// session is one client's connection and its twin to PostgreSQL.
type session struct {
	p      *Peer
	client *pgproto3.Backend
	server *pgproto3.Frontend
	conn   net.Conn // to the client
	user   string
	group  string
	count  int64 // rows of the last UNLOAD
	unload string

	columns []uint32 // numbers of PostgreSQL's types of the rows that come
}

func (p *Peer) session(raw net.Conn) {
	x := &session{p: p, conn: raw, client: pgproto3.NewBackend(raw, raw)}
	start, ok := x.startup()
	if !ok || !x.authenticate(start) {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute) //nolint:forbidigo // nobody calls a server
	defer cancel()
	twin, err := pgconn.Connect(ctx, p.url)
	if err != nil {
		return
	}
	if twin.Exec(ctx, "SET ROLE "+p.role).Close() != nil {
		_ = twin.Close(ctx)
		return
	}
	h, err := twin.Hijack()
	if err != nil {
		return
	}
	defer func() { _ = h.Conn.Close() }()
	x.server = h.Frontend
	x.client.Send(&pgproto3.AuthenticationOk{})
	for k, v := range h.ParameterStatuses {
		x.client.Send(&pgproto3.ParameterStatus{Name: k, Value: v})
	}
	x.client.Send(&pgproto3.BackendKeyData{ProcessID: h.PID, SecretKey: h.SecretKey})
	x.client.Send(&pgproto3.ReadyForQuery{TxStatus: 'I'})
	if x.client.Flush() != nil {
		return
	}
	for x.exchange() { //nolint:revive // each turn is one exchange
	}
}

// startup answers the client's greeting, over TLS where the warehouse wants it.
func (x *session) startup() (*pgproto3.StartupMessage, bool) {
	for {
		m, err := x.client.ReceiveStartupMessage()
		if err != nil {
			return nil, false
		}
		switch m := m.(type) {
		case *pgproto3.SSLRequest:
			if x.p.options.TLS == nil {
				_, err = x.conn.Write([]byte("N"))
			} else if _, err = x.conn.Write([]byte("S")); err == nil {
				secured := tls.Server(x.conn, x.p.options.TLS)
				x.conn, x.client = secured, pgproto3.NewBackend(secured, secured)
			}
			if err != nil {
				return nil, false
			}
		case *pgproto3.CancelRequest:
			x.p.cancel(m)
			return nil, false
		case *pgproto3.StartupMessage:
			return m, true
		default:
			return nil, false
		}
	}
}

// cancel passes a request to end a statement on.
func (p *Peer) cancel(m *pgproto3.CancelRequest) {
	config, err := pgconn.ParseConfig(p.url)
	if err != nil {
		return
	}
	network, address := pgconn.NetworkAddress(config.Host, config.Port)
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute) //nolint:forbidigo // nobody calls a server
	defer cancel()
	c, err := (&net.Dialer{}).DialContext(ctx, network, address)
	if err != nil {
		return
	}
	defer func() { _ = c.Close() }()
	text, err := m.Encode(nil)
	if err == nil {
		_, _ = c.Write(text)
		_, _ = c.Read(make([]byte, 1)) // until it is done
	}
}

func (x *session) authenticate(start *pgproto3.StartupMessage) bool {
	x.user = start.Parameters["user"]
	var salt [4]byte
	_, _ = rand.Read(salt[:])
	x.client.Send(&pgproto3.AuthenticationMD5Password{Salt: salt})
	if x.client.Flush() != nil || x.client.SetAuthType(pgproto3.AuthTypeMD5Password) != nil {
		return false
	}
	m, err := x.client.Receive()
	given, ok := m.(*pgproto3.PasswordMessage)
	if err != nil || !ok {
		return false
	}
	f := x.p.call("login", x.user)
	switch {
	case f.Cut:
		return false
	case f.Code != "":
		return x.refuse(f.Code, f.Text)
	case start.Parameters["database"] != Database:
		return x.refuse("3D000", `database "`+start.Parameters["database"]+`" does not exist`)
	}
	for _, password := range x.p.passwords(x.user) {
		if given.Password == digest(password, x.user, salt) {
			return true
		}
	}
	return x.refuse("28000", `password authentication failed for user "`+x.user+`"`)
}

func digest(password, user string, salt [4]byte) string {
	inner := md5.Sum([]byte(password + user))                                  //nolint:gosec // the protocol's
	outer := md5.Sum(append([]byte(hex.EncodeToString(inner[:])), salt[:]...)) //nolint:gosec // the protocol's
	return "md5" + hex.EncodeToString(outer[:])
}

func (x *session) refuse(code, text string) bool {
	x.client.Send(&pgproto3.ErrorResponse{Severity: "FATAL", Code: code, Message: text})
	_ = x.client.Flush()
	return false
}

// exchange passes on what the client sends up to a Sync or a simple query, and all that answers it.
func (x *session) exchange() bool {
	for {
		m, err := x.client.Receive()
		if err != nil {
			return false
		}
		switch m := m.(type) {
		case *pgproto3.Terminate:
			return false
		case *pgproto3.Query:
			f := x.note(m.String)
			if f.Cut {
				return false
			}
			m.String = f.instead(said(m.String, x.count))
			x.server.Send(m)
			return x.answer()
		case *pgproto3.Parse:
			f := x.note(m.Query)
			if f.Cut {
				return false
			}
			if strings.HasPrefix(m.Query, "UNLOAD") {
				x.unload = m.Query
				continue
			}
			m.Query = f.instead(said(m.Query, x.count))
			x.server.Send(m)
		case *pgproto3.Sync:
			if x.unload != "" {
				return x.runUnload()
			}
			x.server.Send(m)
			return x.answer()
		default:
			if x.unload == "" {
				x.server.Send(m)
			}
		}
	}
}

// note keeps a statement, and answers what goes wrong with it.
func (x *session) note(sql string) Fault {
	if group, ok := strings.CutPrefix(sql, "SET query_group TO '"); ok {
		x.group = strings.TrimSuffix(group, "'")
	}
	x.p.mu.Lock()
	x.p.statements = append(x.p.statements, Statement{SQL: sql, Group: x.group, User: x.user})
	x.p.mu.Unlock()
	name := "statement"
	if strings.HasPrefix(sql, "FETCH") {
		name = "fetch"
	}
	return x.p.call(name, sql)
}

// instead answers a statement that fails by the fault's code, or sql where it has none.
func (f Fault) instead(sql string) string {
	if f.Code == "" {
		return sql
	}
	return "DO $$ BEGIN RAISE EXCEPTION '" + strings.ReplaceAll(f.Text, "'", "''") + "' USING ERRCODE = '" + f.Code + "'; END $$"
}

// answer passes on what PostgreSQL answers, as Redshift would.
func (x *session) answer() bool {
	if x.server.Flush() != nil {
		return false
	}
	for n := 1; ; n++ {
		m, err := x.server.Receive()
		if err != nil {
			return false
		}
		switch m := m.(type) {
		case *pgproto3.RowDescription:
			x.described(m)
		case *pgproto3.DataRow:
			x.row(m)
		}
		x.client.Send(m)
		_, ready := m.(*pgproto3.ReadyForQuery)
		if ready || n%flushAt == 0 {
			if x.client.Flush() != nil {
				return false
			}
		}
		if ready {
			return true
		}
	}
}

// described gives types their numbers in Redshift.
func (x *session) described(m *pgproto3.RowDescription) {
	x.columns = x.columns[:0]
	for i := range m.Fields {
		f := &m.Fields[i]
		x.columns = append(x.columns, f.DataTypeOID)
		if oid, ok := numbers()[f.DataTypeOID]; ok {
			f.DataTypeOID = oid
		}
	}
}

// row writes values as Redshift does.
func (x *session) row(m *pgproto3.DataRow) {
	for i, v := range m.Values {
		if i < len(x.columns) && x.columns[i] == bytea && len(v) >= 2 {
			m.Values[i] = v[2:] // without \x
		}
	}
}
