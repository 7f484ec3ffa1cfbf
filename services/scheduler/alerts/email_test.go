package alerts

import (
	"context"
	"io"
	"mime/quotedprintable"
	"net/mail"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"millrace.dev/pkg/fault"
	"millrace.dev/services/scheduler/alerts/alertstest"
)

func told() Message {
	return Message{
		Version: 1, Event: "failed", Alert: "ops", Workspace: "default", Sync: "orders", Time: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC),
		Run: Run{"0198-a", 7, "live", "failed"}, Cause: Cause{"query_invalid", "column plän is missing\r\nBcc: victim@example.com", "mend the data model"},
	}
}

// settings answers how a mailer reaches a server.
func settings(s *alertstest.MailServer) MailSettings {
	return MailSettings{Addr: s.Addr(), From: "millrace@example.com", Roots: s.Roots()}
}

func sendMail(t *testing.T, set MailSettings) error {
	t.Helper()
	m, err := NewMailer(set)
	require.NoError(t, err)
	err = m.Send(t.Context(), "ops@example.com", "msg_1", told())
	if err != nil {
		t.Log(fault.As(err).Err)
		require.NotContains(t, err.Error(), "canary")
	}
	return err
}

func withPassword(t *testing.T, set MailSettings, password string) MailSettings {
	t.Helper()
	set.User, set.PasswordFile = "millrace", filepath.Join(t.TempDir(), "password")
	require.NoError(t, os.WriteFile(set.PasswordFile, []byte(password+"\n"), 0o600))
	return set
}

func TestAMailGoesOutEncrypted(t *testing.T) {
	s := alertstest.ServeMail(t, func(s *alertstest.MailServer) { s.Password = "canary-hunter2" })
	require.NoError(t, sendMail(t, withPassword(t, settings(s), "canary-hunter2")))
	require.Len(t, s.Mails(), 1)
	got := s.Mails()[0]
	require.True(t, got.Encrypted)
	require.Equal(t, "millrace", got.User)
	require.Contains(t, got.From, "FROM:<millrace@example.com>")
	require.Equal(t, "TO:<ops@example.com>", got.To)

	letter, err := mail.ReadMessage(strings.NewReader(got.Text))
	require.NoError(t, err)
	require.Equal(t, "[Millrace] sync orders failed", letter.Header.Get("Subject"))
	require.Equal(t, "<msg_1@example.com>", letter.Header.Get("Message-Id"), "by which a repeat is known")
	require.Equal(t, "auto-generated", letter.Header.Get("Auto-Submitted"))
	require.Equal(t, "failed", letter.Header.Get("X-Millrace-Event"))
	require.Empty(t, letter.Header.Get("Bcc"), "what a run says is no header")
	body, err := io.ReadAll(quotedprintable.NewReader(letter.Body))
	require.NoError(t, err)
	require.Equal(t, told().Text(), strings.ReplaceAll(strings.TrimRight(string(body), "\r\n"), "\r\n", "\n")+"\n")
}

func TestAServerMayBeEncryptedFromTheBeginning(t *testing.T) {
	s := alertstest.ServeMail(t, func(s *alertstest.MailServer) { s.Password, s.Implicit = "canary-hunter2", true })
	set := withPassword(t, settings(s), "canary-hunter2")
	set.TLS = TLS
	require.NoError(t, sendMail(t, set))
	require.True(t, s.Mails()[0].Encrypted)
	require.Equal(t, "millrace", s.Mails()[0].User)
	set.Roots = nil
	require.ErrorContains(t, sendMail(t, set), "certificate")
}

func TestAMailServerThatHangsIsGivenUpInTime(t *testing.T) {
	hangs := make(chan struct{})
	s := alertstest.ServeMail(t, func(s *alertstest.MailServer) { s.Hang = hangs })
	m, err := NewMailer(settings(s))
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		<-hangs
		cancel() // as the deadline would
	}()
	require.ErrorContains(t, m.Send(ctx, "ops@example.com", "msg_1", told()), "does not answer in time")
}

func TestAMailThatWasTakenIsSentWhateverFollows(t *testing.T) {
	s := alertstest.ServeMail(t, func(s *alertstest.MailServer) { s.Refuse["QUIT"], s.Refuse["RSET"] = "500 canary", "500 canary" })
	require.NoError(t, sendMail(t, settings(s)))
	require.Len(t, s.Mails(), 1)
}

func TestAServerOfPlainTextIsToldSoByTheOperatorOnly(t *testing.T) {
	s := alertstest.ServeMail(t, func(s *alertstest.MailServer) { s.Offer = false })
	require.ErrorContains(t, sendMail(t, settings(s)), "STARTTLS")
	require.Empty(t, s.Mails())
	set := settings(s)
	set.TLS = NoTLS
	require.NoError(t, sendMail(t, set))
	require.False(t, s.Mails()[0].Encrypted)
}

func TestWhatAMailServerRefusesIsSaid(t *testing.T) {
	s := alertstest.ServeMail(t, func(s *alertstest.MailServer) { s.Password = "canary-hunter2" })
	require.ErrorContains(t, sendMail(t, withPassword(t, settings(s), "another")), "refused the user or the password")
	unknown := settings(s)
	unknown.Roots = nil
	require.ErrorContains(t, sendMail(t, unknown), "certificate")
	gone := withPassword(t, settings(s), "x")
	gone.PasswordFile += "2"
	require.ErrorContains(t, sendMail(t, gone), "--scheduler-smtp-password-file")

	s = alertstest.ServeMail(t, func(s *alertstest.MailServer) { s.Refuse["RCPT"] = "550 5.1.1 canary: no such user" })
	require.ErrorContains(t, sendMail(t, settings(s)), "did not take the mail")
	require.Empty(t, s.Mails())
	closed := settings(s)
	closed.Addr = "127.0.0.1:1"
	require.ErrorContains(t, sendMail(t, closed), "cannot be reached")
	err := sendMail(t, MailSettings{})
	require.ErrorContains(t, err, "--scheduler-smtp-addr")
	require.Equal(t, fault.Precondition, fault.ClassOf(err))
}

func TestSettingsOfAMailServerAreCheckedAtOnce(t *testing.T) {
	_, err := NewMailer(MailSettings{Addr: "mail", From: "Ops <ops@example.com>", User: "u", TLS: "ssl"})
	require.Equal(t, fault.Invalid, fault.ClassOf(err))
	for _, what := range []string{"smtp-addr", "smtp-from", "smtp-tls", "smtp-password-file"} {
		require.ErrorContains(t, err, what)
	}
	_, err = NewMailer(MailSettings{Addr: "mail:25", From: "a@b.c", User: "u", PasswordFile: "f", TLS: NoTLS})
	require.ErrorContains(t, err, "no password goes out in plain text")
}
