package console

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	configv1 "millrace.dev/gen/millrace/config/v1"
	"millrace.dev/pkg/fault"
)

// post sends a form.
func post(t *testing.T, c *Console, path string, form url.Values) *httptest.ResponseRecorder {
	t.Helper()
	w := httptest.NewRecorder()
	r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, path, strings.NewReader(form.Encode()))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	c.ServeHTTP(w, r)
	return w
}

func appDB() *configv1.Connection {
	return &configv1.Connection{Meta: &configv1.Meta{Id: "app_db", DisplayName: "App <b>database</b>", Etag: "e7"}, Provider: &configv1.Connection_Postgres{Postgres: &configv1.Postgres{
		Host: "db.example", Port: 5433, Database: "app", User: "reader", Password: &configv1.Secret{Value: &configv1.Secret_Kept{Kept: true}},
	}}}
}

// TestEverySettingOfAProviderIsInItsForm fails where a provider or a setting is added to Connection and the console does
// not know it.
func TestEverySettingOfAProviderIsInItsForm(t *testing.T) {
	blocks := (&configv1.Connection{}).ProtoReflect().Descriptor().Oneofs().ByName("provider").Fields()
	require.Len(t, providers(), blocks.Len())
	for i := range blocks.Len() {
		p, known := providerNamed(string(blocks.Get(i).Name()))
		require.True(t, known, blocks.Get(i).Name())
		fields := blocks.Get(i).Message().Fields()
		var got []string
		for _, s := range p.settings {
			got = append(got, s.name)
			f := fields.ByName(protoreflect.Name(s.name))
			require.NotNil(t, f, "%s.%s", p.Name, s.name)
			require.Equal(t, f.Message() != nil, s.kind == inputSecret || s.kind == inputSecretArea, "%s.%s", p.Name, s.name)
		}
		var want []string
		for j := range fields.Len() {
			want = append(want, string(fields.Get(j).Name()))
		}
		require.ElementsMatch(t, want, got, p.Name)
	}
}

func TestConnectionsAreListedAndShownWithoutTheirSecrets(t *testing.T) {
	c := open(t, answers{
		"ListConnections": says(&configv1.ListConnectionsResponse{Connections: []*configv1.Connection{appDB()}, NextPageToken: "n2"}),
		"GetConnection":   says(&configv1.GetConnectionResponse{Connection: appDB()}),
	})
	list := get(t, c, "/w/default/connections").Body.String()
	require.Contains(t, list, "App &lt;b&gt;database&lt;/b&gt;")
	require.Contains(t, list, "reader · db.example · app")
	require.Contains(t, list, "?page=n2")
	one := get(t, c, "/w/default/connections/app_db").Body.String()
	require.Contains(t, one, "stored, never shown")
	require.Contains(t, one, "5433")
	require.Contains(t, one, `name="etag" value="e7"`)
}

func TestAConnectionIsTestedStepByStep(t *testing.T) {
	c := open(t, answers{
		"GetConnection": says(&configv1.GetConnectionResponse{Connection: appDB()}),
		"TestConnection": says(&configv1.TestConnectionResponse{Steps: []*configv1.CheckStep{
			{Name: "resolve", Ok: true, Message: "10.0.0.1"},
			{Name: "authenticate", Message: "the password is wrong; set the one of reader"},
			{Name: "run_query", Ok: true, Warning: true, Message: "the role could write"},
		}}),
	})
	body := get(t, c, "/w/default/connections/app_db/test").Body.String()
	require.Contains(t, body, `<span class="state good">passed</span>`)
	require.Contains(t, body, "the password is wrong; set the one of reader")
	require.Contains(t, body, `<span class="state warn">warning</span>`)
	require.Contains(t, body, "run query")
	require.Contains(t, body, "Mend the step that failed")
}

func TestTablesAndColumnsAreBounded(t *testing.T) {
	wide := &configv1.Table{Name: "<script>wide</script>"}
	for range 1000 {
		wide.Columns = append(wide.Columns, &configv1.Column{Name: strings.Repeat("c", 5000), Type: "TEXT"})
	}
	c := open(t, answers{
		"GetConnection": says(&configv1.GetConnectionResponse{Connection: appDB()}),
		"ListTables":    says(&configv1.ListTablesResponse{Tables: []*configv1.Table{wide}}),
	})
	w := get(t, c, "/w/default/connections/app_db/tables?prefix=w")
	require.Equal(t, http.StatusOK, w.Code)
	require.Contains(t, w.Body.String(), "and 800 more columns")
	require.NotContains(t, w.Body.String(), "<script>wide")
	require.Less(t, w.Body.Len(), 100_000)
}

func TestANewConnectionIsMadeOfItsForm(t *testing.T) {
	var got *configv1.Connection
	c := open(t, answers{"CreateConnection": func(in any) (proto.Message, error) {
		got = in.(*configv1.CreateConnectionRequest).GetConnection()
		return &configv1.CreateConnectionResponse{Connection: got}, nil
	}})
	require.Contains(t, get(t, c, "/w/default/new/connection").Body.String(), "Google BigQuery")
	require.Contains(t, get(t, c, "/w/default/new/connection?provider=postgres").Body.String(), `type="password"`)
	w := post(t, c, "/w/default/new/connection", url.Values{
		"provider": {"postgres"}, "display_name": {" App database "}, "host": {"db.example"}, "port": {"5433"}, "database": {"app"}, "user": {"reader"}, "password": {" s3cret "},
	})
	require.Equal(t, http.StatusSeeOther, w.Code, w.Body.String())
	require.Equal(t, "/w/default/connections/app_database/test?done=created", w.Header().Get("Location"))
	require.Equal(t, "App database", got.GetMeta().GetDisplayName())
	require.Equal(t, int32(5433), got.GetPostgres().GetPort())
	require.Equal(t, " s3cret ", got.GetPostgres().GetPassword().GetPlain())
	require.Nil(t, got.GetPostgres().GetClientKey())
}

func TestARefusedConnectionKeepsWhatWasTypedButNoSecret(t *testing.T) {
	c := open(t, answers{"CreateConnection": func(any) (proto.Message, error) {
		return nil, fault.Of(fault.ReasonInvalidArgument, []fault.Violation{
			{Kind: "Connection", ID: "x", Field: "postgres.host", Message: "is missing", Fix: "add it"},
			{Kind: "Connection", ID: "x", Field: "postgres.sslmode", Message: "is unknown"},
		})
	}})
	form := url.Values{"provider": {"postgres"}, "id": {"x"}, "user": {"reader & co"}, "password": {"s3cret"}}
	w := post(t, c, "/w/default/new/connection", form)
	require.Equal(t, http.StatusBadRequest, w.Code)
	body := w.Body.String()
	require.Contains(t, body, `aria-describedby="host.wrong"`)
	require.Contains(t, body, `id="sslmode.wrong"`)
	require.Contains(t, body, "<details open>")
	require.Contains(t, body, `value="reader &amp; co"`)
	require.NotContains(t, body, "s3cret")

	form.Set("port", "many")
	require.Contains(t, post(t, c, "/w/default/new/connection", form).Body.String(), "is no whole number")
}

func TestAnEditKeepsSecretsUnlessTheyAreTypedOrRemoved(t *testing.T) {
	var got *configv1.UpdateConnectionRequest
	c := open(t, answers{
		"GetConnection": says(&configv1.GetConnectionResponse{Connection: appDB()}),
		"UpdateConnection": func(in any) (proto.Message, error) {
			got = in.(*configv1.UpdateConnectionRequest)
			return &configv1.UpdateConnectionResponse{}, nil
		},
	})
	body := get(t, c, "/w/default/connections/app_db/edit").Body.String()
	require.Contains(t, body, `name="kept.password" value="yes"`)
	require.Contains(t, body, `name="etag" value="e7"`)
	form := url.Values{"etag": {"e7"}, "host": {"db2.example"}, "kept.password": {"yes"}}
	require.Equal(t, "/w/default/connections/app_db?done=saved", post(t, c, "/w/default/connections/app_db/edit", form).Header().Get("Location"))
	require.True(t, got.GetConnection().GetPostgres().GetPassword().GetKept())
	require.Equal(t, "e7", got.GetConnection().GetMeta().GetEtag())
	require.NotContains(t, got.GetUpdateMask().GetPaths(), "postgres.password")
	form.Set("remove.password", "yes")
	post(t, c, "/w/default/connections/app_db/edit", form)
	require.Nil(t, got.GetConnection().GetPostgres().GetPassword())
	require.Contains(t, got.GetUpdateMask().GetPaths(), "postgres.password")
}

func TestAStaleTabIsToldAndLosesNothing(t *testing.T) {
	c := open(t, answers{
		"GetConnection": says(&configv1.GetConnectionResponse{Connection: appDB()}),
		"UpdateConnection": func(any) (proto.Message, error) {
			return nil, fault.New(fault.Conflict, fault.ReasonStaleEtag, "the resource has changed")
		},
	})
	w := post(t, c, "/w/default/connections/app_db/edit", url.Values{"etag": {"e1"}, "host": {"typed.example"}})
	require.Equal(t, http.StatusConflict, w.Code)
	require.Contains(t, w.Body.String(), "Load it anew")
	require.Contains(t, w.Body.String(), "typed.example")
}

func TestAConnectionInUseIsNotDeleted(t *testing.T) {
	c := open(t, answers{
		"GetConnection": says(&configv1.GetConnectionResponse{Connection: appDB()}),
		"DeleteConnection": func(any) (proto.Message, error) {
			return nil, fault.New(fault.Precondition, fault.ReasonInUse, "connection app_db is used by data model orders")
		},
	})
	w := post(t, c, "/w/default/connections/app_db/delete", url.Values{"etag": {"e7"}})
	require.Equal(t, http.StatusConflict, w.Code)
	require.Contains(t, w.Body.String(), "is used by data model orders")
}

func TestSlugsAreIds(t *testing.T) {
	for name, want := range map[string]string{"Shop warehouse": "shop_warehouse", "  --A-- ": "a", "顧客": "", "Ünïcode 7": "n_code_7"} {
		require.Equal(t, want, slug(name), name)
	}
	require.LessOrEqual(t, len(slug(strings.Repeat("ab c", 100))), 64)
}
