package redshifttest

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"millrace.dev/pkg/resource"
	"millrace.dev/pkg/testenv"
)

// Names that the peer goes by.
const (
	Database  = "dev"
	User      = "millrace_reader"
	Password  = "s3cr3t-Of-The-Reader"
	Cluster   = "analytics"
	Workgroup = "analytics-wg"
	Region    = "eu-central-1"
	Bucket    = "millrace-unload"
	Account   = "111122223333"
	Unloader  = "arn:aws:iam::" + Account + ":role/redshift-unload"
	// AccessKey and SecretKey are the extractor's, of the account Account.
	AccessKey = "AKIAPEEROFREDSHIFT00" //nolint:gosec // nobody's
	SecretKey = "secret-of-the-peer"
)

// Options say what the warehouse is like.
type Options struct {
	// TLS makes it take encrypted connections only.
	TLS *tls.Config
	// LoginLasts is how long temporary passwords and sessions of roles live. Default 15 min.
	LoginLasts time.Duration
	// Slices is how many files an UNLOAD writes at once. Default 4.
	Slices int
	// StateSchema names a schema that the reader may make tables in, beside which it can write nothing. Default none.
	StateSchema string
}

// Peer is a running warehouse with its AWS. Safe for concurrent use.
type Peer struct {
	options  Options
	url      string // of PostgreSQL
	role     string // there, of the driver's sessions
	listener net.Listener
	aws      *httptest.Server
	sessions sync.WaitGroup

	mu         sync.Mutex
	conns      map[net.Conn]bool
	closed     bool
	logins     map[string]login  // temporary users
	tokens     map[string]ending // session tokens of assumed roles
	objects    map[string][]byte // bucket/key
	statements []Statement
	calls      map[string]int
	fault      func(Call) *Fault
	issued     int
}

// Statement is one statement as the driver sent it.
type Statement struct {
	SQL   string
	Group string // query_group
	User  string
}

// Call is one thing that the peer is about to do: login, statement, fetch, unload, GetObject, ListObjects, DeleteObjects,
// AssumeRole, GetCallerIdentity, GetClusterCredentials, GetClusterCredentialsWithIAM or GetCredentials.
type Call struct {
	Name string
	Text string // the statement, or the key
	N    int    // how many of that name there were before
}

// Fault is what goes wrong with a call instead.
type Fault struct {
	Cut    bool   // the connection is cut; of GetObject in the middle of the file
	Status int    // of HTTP
	Code   string // AWS's code, or SQLSTATE
	Text   string
	Mangle func([]byte) []byte // of an object as it is written
	Lose   bool                // of an object as it is written: it is not
	Hold   <-chan struct{}     // waits for it first
}

// Start runs a warehouse over a PostgreSQL database of its own until t ends.
func Start(t testing.TB, o Options) *Peer {
	t.Helper()
	if o.LoginLasts <= 0 {
		o.LoginLasts = 15 * time.Minute
	}
	if o.Slices <= 0 {
		o.Slices = 4
	}
	p := &Peer{options: o, url: testenv.Postgres(t), conns: map[net.Conn]bool{}, logins: map[string]login{}, tokens: map[string]ending{}, objects: map[string][]byte{}, calls: map[string]int{}}
	p.role = "reader_" + strings.ToLower(rand.Text())
	p.install(t)
	t.Cleanup(func() { p.dropRole(t) })
	var err error
	p.listener, err = (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	p.aws = httptest.NewServer(http.HandlerFunc(p.serveAWS))
	p.sessions.Go(p.accept)
	t.Cleanup(p.stop)
	return p
}

func (p *Peer) stop() {
	p.mu.Lock()
	p.closed = true
	for c := range p.conns {
		_ = c.Close()
	}
	p.mu.Unlock()
	_ = p.listener.Close()
	p.sessions.Wait()
	p.aws.CloseClientConnections()
	p.aws.Close()
}

// Connection answers the warehouse's address with the reader's password. It does not unload.
func (p *Peer) Connection() resource.Connection {
	host, text, _ := net.SplitHostPort(p.listener.Addr().String())
	port, _ := strconv.Atoi(text)
	mode := "disable"
	if p.options.TLS != nil {
		mode = "require"
	}
	return resource.Connection{Redshift: &resource.Redshift{
		Host: host, Port: port, Database: Database, User: User, Password: resource.Secret{Plain: Password}, SSLMode: mode, Region: Region,
		Endpoint: p.aws.URL, STSEndpoint: p.aws.URL, S3Endpoint: p.aws.URL,
	}}
}

// Unloading is Connection with a bucket.
func (p *Peer) Unloading() resource.Connection {
	c := p.Connection()
	c.Redshift.UnloadBucket, c.Redshift.UnloadPrefix, c.Redshift.UnloadRole = Bucket, "staging", Unloader
	return c
}

// Exec runs statements of Redshift's dialect as the warehouse's owner.
func (p *Peer) Exec(t testing.TB, sql string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute) //nolint:forbidigo // nobody calls a server
	defer cancel()
	c, err := pgx.Connect(ctx, p.url)
	require.NoError(t, err)
	defer func() { require.NoError(t, c.Close(ctx)) }()
	require.NoError(t, c.PgConn().Exec(ctx, translate(sql, 0)).Close())
}

// Intercept makes f say what goes wrong; nil of it, or of its answer, is nothing.
func (p *Peer) Intercept(f func(Call) *Fault) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.fault, p.calls = f, map[string]int{}
}

// Calls answers how often each call came since the last Intercept.
func (p *Peer) Calls() map[string]int {
	p.mu.Lock()
	defer p.mu.Unlock()
	out := map[string]int{}
	for k, v := range p.calls {
		out[k] = v
	}
	return out
}

// call notes a call and answers what goes wrong with it.
func (p *Peer) call(name, text string) Fault {
	p.mu.Lock()
	n, f := p.calls[name], p.fault
	p.calls[name]++
	p.mu.Unlock()
	if f == nil {
		return Fault{}
	}
	out := f(Call{Name: name, Text: text, N: n})
	if out == nil {
		return Fault{}
	}
	if out.Hold != nil {
		<-out.Hold
	}
	return *out
}

// Statements answers what was sent, in its order.
func (p *Peer) Statements() []Statement {
	p.mu.Lock()
	defer p.mu.Unlock()
	return append([]Statement(nil), p.statements...)
}

// Objects answers the keys that lie in the bucket.
func (p *Peer) Objects() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	var out []string
	for k := range p.objects {
		out = append(out, k)
	}
	return out
}

// Logins answers how many temporary passwords were given.
func (p *Peer) Logins() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.issued
}

// Expire ends all temporary passwords and sessions of roles.
func (p *Peer) Expire() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for user, l := range p.logins {
		l.ends = time.Time{}
		p.logins[user] = l
	}
	for token := range p.tokens {
		p.tokens[token] = ending{}
	}
}

// Role names, for SQL of Exec, the role that the driver's sessions are.
func (p *Peer) Role() string { return p.role }

// Addresses answers the hosts and ports that may be dialled.
func (p *Peer) Addresses() []string {
	return []string{p.listener.Addr().String(), p.aws.Listener.Addr().String()}
}
