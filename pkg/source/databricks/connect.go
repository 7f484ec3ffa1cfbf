package databricks

import (
	"crypto/tls"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"

	"millrace.dev/pkg/resource"
)

const (
	idleConnections = 8
	idleTime        = 90 * time.Second
	maxHeaders      = 64 << 10
)

// pathOf answers where the warehouse's calls are posted.
func pathOf(b resource.Databricks) string {
	if b.HTTPPath == "" {
		return "/sql/1.0/warehouses/" + b.WarehouseID
	}
	return "/" + strings.TrimPrefix(b.HTTPPath, "/")
}

func hostPort(b resource.Databricks) string { return net.JoinHostPort(b.Host, strconv.Itoa(b.Port)) }

// transportOf answers what dials. The process's proxy settings have no say in it.
func transportOf(s Settings) *http.Transport {
	dialer := &net.Dialer{Timeout: s.ConnectTimeout, KeepAlive: 30 * time.Second}
	return &http.Transport{
		DialContext: dialer.DialContext, TLSHandshakeTimeout: s.ConnectTimeout, TLSClientConfig: &tls.Config{MinVersion: tls.VersionTLS12},
		MaxIdleConnsPerHost: idleConnections, IdleConnTimeout: idleTime, MaxResponseHeaderBytes: maxHeaders, ForceAttemptHTTP2: true,
	}
}
