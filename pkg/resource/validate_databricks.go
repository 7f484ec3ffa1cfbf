package resource

import (
	"fmt"
	"net"
	"regexp"
	"slices"
	"strings"
)

const (
	protocolHTTPS = "https"
	protocolHTTP  = "http"
	portHTTPS     = 443
	portHTTP      = 80
)

var (
	databricksHost = regexp.MustCompile(`^([A-Za-z0-9]([A-Za-z0-9-]{0,62}))(\.[A-Za-z0-9]([A-Za-z0-9-]{0,62}))*$`)               //nolint:gochecknoglobals // never changes
	databricksPath = regexp.MustCompile(`^/?sql/(1\.0/(warehouses|endpoints)/[A-Za-z0-9-]+|protocolv1/o/[0-9]+/[A-Za-z0-9-]+)$`) //nolint:gochecknoglobals // never changes
	databricksID   = regexp.MustCompile(`^[A-Za-z0-9-]{1,64}$`)                                                                  //nolint:gochecknoglobals // never changes
)

// databricksDomains are those that workspaces have.
func databricksDomains() []string {
	return []string{".databricks.com", ".azuredatabricks.net", ".databricks.azure.cn", ".databricks.azure.us", ".databricks.us"}
}

func (d *Databricks) normalize() {
	if d.Protocol == "" {
		d.Protocol = protocolHTTPS
	}
	if d.Port == 0 {
		d.Port = portHTTPS
		if d.Protocol == protocolHTTP {
			d.Port = portHTTP
		}
	}
	if d.Schema == "" {
		d.Schema = "default"
	}
	if d.StatementTimeout == 0 {
		d.StatementTimeout = defaultTimeout
	}
}

func (d *Databricks) validate(f *faults) {
	d.validateAddress(f)
	switch {
	case d.HTTPPath == "" && d.WarehouseID == "":
		f.add("databricks.http_path", "add it, or warehouse_id; both stand in the warehouse's connection details", "is missing")
	case d.HTTPPath != "" && d.WarehouseID != "":
		f.add("databricks.warehouse_id", "keep one", "stands beside http_path")
	case d.HTTPPath != "" && !databricksPath.MatchString(d.HTTPPath):
		f.add("databricks.http_path", "use one such as /sql/1.0/warehouses/0123456789abcdef", "%q is no path of a warehouse or cluster", clip(d.HTTPPath))
	case d.WarehouseID != "" && !databricksID.MatchString(d.WarehouseID):
		f.add("databricks.warehouse_id", "use one such as 0123456789abcdef", "%q is no id of a warehouse", clip(d.WarehouseID))
	}
	f.text("databricks.catalog", d.Catalog, true)
	f.text("databricks.schema", d.Schema, true)
	f.text("databricks.client_id", d.ClientID, false)
	if d.ClientID != "" && !d.Token.IsZero() {
		f.add("databricks.token", "keep it, or client_id and client_secret", "stands beside client_id")
	}
	if d.ClientID == "" && !d.ClientSecret.IsZero() {
		f.add("databricks.client_id", "add the service principal's application id", "is missing")
	}
	f.secret("databricks.client_secret", d.ClientSecret)
	f.secret("databricks.token", d.Token)
	f.duration("databricks.statement_timeout", d.StatementTimeout)
}

// validateAddress checks where credentials go: over TLS to a host of Databricks, or to a named proxy.
func (d *Databricks) validateAddress(f *faults) {
	f.oneOf("databricks.protocol", d.Protocol, true, protocolHTTPS, protocolHTTP)
	if d.Port < 1 || d.Port > maxPort {
		f.add("databricks.port", fmt.Sprintf("use 1 to %d", maxPort), "%d is no port", d.Port)
	}
	own := slices.ContainsFunc(databricksDomains(), func(domain string) bool { return strings.HasSuffix(strings.ToLower(d.Host), domain) })
	switch {
	case d.Host == "" || len(d.Host) > maxText || !clean(d.Host):
		f.text("databricks.host", d.Host, true)
	case !databricksHost.MatchString(d.Host) && net.ParseIP(d.Host) == nil:
		f.add("databricks.host", "write the name alone, without https://, port or path", "%q is no host", clip(d.Host))
	case !own && d.Protocol == protocolHTTPS:
		f.add("databricks.host", "use the workspace's, such as dbc-a1b2c3d4-e5f6.cloud.databricks.com; a proxy of your own is named with protocol http",
			"%q is no host of Databricks", clip(d.Host))
	case own && d.Protocol == protocolHTTP:
		f.add("databricks.protocol", "use https", "http would send the credentials to Databricks unencrypted")
	}
}

func (d *Databricks) secrets() []SecretField {
	return []SecretField{
		{Name: "databricks.client_secret", Value: &d.ClientSecret},
		{Name: "databricks.token", Value: &d.Token},
	}
}
