package testenv_test

import (
	"os"
	"os/exec"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"millrace.dev/pkg/testenv"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m, testenv.Leaks()...) }

func TestEveryCallAnswersAnEmptyDatabaseOfItsOwn(t *testing.T) {
	var urls []string
	t.Run("use", func(t *testing.T) {
		for range 2 {
			u := testenv.Postgres(t)
			urls = append(urls, u)
			conn, err := pgx.Connect(t.Context(), u)
			require.NoError(t, err)
			_, err = conn.Exec(t.Context(), "CREATE TABLE x (i int)")
			require.NoError(t, err)
			require.NoError(t, conn.Close(t.Context()))
		}
		require.NotEqual(t, urls[0], urls[1])
	})
	_, err := pgx.Connect(t.Context(), urls[0])
	require.Error(t, err, "it is dropped with its test")
}

func TestRedisIsShared(t *testing.T) {
	first := testenv.Redis(t)
	require.Equal(t, first, testenv.Redis(t))
}

func TestNATSKeepsItsMessagesOverAKill(t *testing.T) {
	s := testenv.NATSServer(t)
	use := func(f func(js nats.JetStreamContext)) {
		nc, err := nats.Connect(s.URL)
		require.NoError(t, err)
		defer nc.Close()
		js, err := nc.JetStream()
		require.NoError(t, err)
		f(js)
	}
	use(func(js nats.JetStreamContext) {
		_, err := js.AddStream(&nats.StreamConfig{Name: "S", Subjects: []string{"s"}})
		require.NoError(t, err)
		_, err = js.Publish("s", []byte("x"))
		require.NoError(t, err)
	})
	s.Kill()
	s.Start()
	use(func(js nats.JetStreamContext) {
		info, err := js.StreamInfo("S")
		require.NoError(t, err)
		require.Equal(t, uint64(1), info.State.Msgs)
	})
	require.Contains(t, s.Log(), "Server is ready")
}

func TestPostgresKeepsItsCommitsOverAKill(t *testing.T) {
	s := testenv.PostgresServer(t)
	u := s.Database("kept")
	use := func(f func(c *pgx.Conn)) {
		c, err := pgx.Connect(t.Context(), u)
		require.NoError(t, err)
		f(c)
		_ = c.Close(t.Context()) // it may be gone with the server
	}
	use(func(c *pgx.Conn) {
		_, err := c.Exec(t.Context(), "CREATE TABLE x AS SELECT 7 AS i")
		require.NoError(t, err)
		s.Kill()
	})
	s.Start()
	use(func(c *pgx.Conn) {
		var i int
		require.NoError(t, c.QueryRow(t.Context(), "SELECT i FROM x").Scan(&i))
		require.Equal(t, 7, i)
	})
}

func TestAClusterGoesOnWithoutOneOfItsServers(t *testing.T) {
	servers := testenv.NATSCluster(t, 3, nil)
	nc, err := nats.Connect(servers[0].URL + "," + servers[1].URL + "," + servers[2].URL)
	require.NoError(t, err)
	defer nc.Close()
	js, err := nc.JetStream()
	require.NoError(t, err)
	require.Eventually(t, func() bool { // the first choice of a leader may fail
		_, err := js.AddStream(&nats.StreamConfig{Name: "S", Subjects: []string{"s"}, Replicas: 3})
		return err == nil
	}, time.Minute, 100*time.Millisecond)
	servers[1].Kill()
	require.Eventually(t, func() bool {
		_, err := js.Publish("s", []byte("x"))
		return err == nil
	}, time.Minute, 100*time.Millisecond)
	servers[1].Start()
}

func TestChromiumShowsAPageWithoutAScreen(t *testing.T) {
	args := []string{"--headless", "--disable-gpu", "--user-data-dir=" + t.TempDir(), "--dump-dom", "data:text/html,<p>Hello"}
	if os.Geteuid() == 0 {
		args = append(args, "--no-sandbox") // which root can not have
	}
	out, err := exec.CommandContext(t.Context(), testenv.Chromium(t), args...).Output()
	require.NoError(t, err)
	require.Contains(t, string(out), "<p>Hello</p>")
}
