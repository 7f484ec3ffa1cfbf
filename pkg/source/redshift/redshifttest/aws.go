package redshifttest

import (
	"encoding/json"
	"encoding/xml"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
)

// login is a temporary user of the database.
type login struct {
	password string
	ending
}

// ending says until when something holds.
type ending struct{ ends time.Time }

// passwords answers those that a user may come with now.
func (p *Peer) passwords(user string) []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	var out []string
	if user == User {
		out = append(out, Password)
	}
	if l, ok := p.logins[user]; ok && time.Now().Before(l.ends) {
		out = append(out, l.password)
	}
	return out
}

// serveAWS answers S3, STS and the two Redshift APIs.
func (p *Peer) serveAWS(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(io.LimitReader(r.Body, 1<<20))
	if err != nil {
		return
	}
	s3 := strings.HasPrefix(r.URL.Path, "/"+Bucket)
	if code := p.signed(r); code != "" {
		fail(w, s3, http.StatusForbidden, code)
		return
	}
	form, _ := url.ParseQuery(string(body))
	switch target := r.Header.Get("X-Amz-Target"); {
	case target == "RedshiftServerless.GetCredentials":
		p.getCredentials(w, body)
	case s3:
		p.serveS3(w, r, body)
	default:
		p.serveForm(w, form)
	}
}

// signed answers why a request is not let in, "" where it is.
func (p *Peer) signed(r *http.Request) string {
	_, rest, _ := strings.Cut(r.Header.Get("Authorization"), "Credential=")
	key, scope, _ := strings.Cut(rest, "/")
	token := r.Header.Get("X-Amz-Security-Token")
	p.mu.Lock()
	defer p.mu.Unlock()
	e, known := p.tokens[token]
	switch {
	case !strings.Contains(scope, "/"+Region+"/"):
		return "SignatureDoesNotMatch"
	case token == "" && key != AccessKey:
		return "InvalidAccessKeyId"
	case token != "" && (!known || key != temporaryKey(token)):
		return "InvalidClientTokenId"
	case token != "" && time.Now().After(e.ends):
		return "ExpiredToken"
	}
	return ""
}

func temporaryKey(token string) string { return "ASIA" + strings.ToUpper(token[len(token)-16:]) }

// fail answers an error, as S3 writes it or as the other services do.
func fail(w http.ResponseWriter, s3 bool, status int, code string) {
	w.Header().Set("Content-Type", "text/xml")
	w.WriteHeader(status)
	text := "<Error><Code>" + code + "</Code><Message>account " + Account + " may not</Message></Error>"
	if !s3 {
		text = "<ErrorResponse>" + text + "</ErrorResponse>"
	}
	_, _ = io.WriteString(w, text)
}

// serveForm answers STS and the API of clusters.
func (p *Peer) serveForm(w http.ResponseWriter, form url.Values) {
	action := form.Get("Action")
	if f := p.call(action, form.Encode()); f.Status != 0 {
		fail(w, false, f.Status, f.Code)
		return
	}
	var result string
	switch action {
	case "GetCallerIdentity":
		result = "<Account>" + Account + "</Account><Arn>arn:aws:iam::" + Account + ":user/extractor</Arn><UserId>AIDA</UserId>"
	case "AssumeRole":
		if want := "external-of-" + form.Get("RoleArn")[len("arn:aws:iam::"):][:12]; form.Get("ExternalId") != want && !strings.Contains(form.Get("RoleArn"), Account) {
			fail(w, false, http.StatusForbidden, "AccessDenied")
			return
		}
		token, ends := p.issueToken()
		result = fmt.Sprintf("<Credentials><AccessKeyId>%s</AccessKeyId><SecretAccessKey>secret</SecretAccessKey><SessionToken>%s</SessionToken><Expiration>%s</Expiration></Credentials>",
			temporaryKey(token), token, ends.UTC().Format(time.RFC3339))
	case "GetClusterCredentials", "GetClusterCredentialsWithIAM":
		user := "IAM:" + form.Get("DbUser")
		if action == "GetClusterCredentialsWithIAM" {
			user = "IAM:extractor"
		}
		if form.Get("ClusterIdentifier") != Cluster {
			fail(w, false, http.StatusNotFound, "ClusterNotFound")
			return
		}
		password, ends := p.issueLogin(user)
		result = fmt.Sprintf("<DbUser>%s</DbUser><DbPassword>%s</DbPassword><Expiration>%s</Expiration>", user, password, ends.UTC().Format(time.RFC3339))
	default:
		fail(w, false, http.StatusBadRequest, "InvalidAction")
		return
	}
	w.Header().Set("Content-Type", "text/xml")
	_, _ = fmt.Fprintf(w, "<%[1]sResponse><%[1]sResult>%[2]s</%[1]sResult></%[1]sResponse>", action, result)
}

// getCredentials answers the API of workgroups.
func (p *Peer) getCredentials(w http.ResponseWriter, body []byte) {
	w.Header().Set("Content-Type", "application/x-amz-json-1.1")
	f := p.call("GetCredentials", string(body))
	var in struct {
		Workgroup string `json:"workgroupName"`
	}
	_ = json.Unmarshal(body, &in)
	if in.Workgroup != Workgroup {
		f = Fault{Status: http.StatusBadRequest, Code: "ResourceNotFoundException"}
	}
	if f.Status != 0 {
		w.WriteHeader(f.Status)
		_, _ = fmt.Fprintf(w, `{"__type": %q, "message": "account %s"}`, f.Code, Account)
		return
	}
	password, ends := p.issueLogin("IAMR:extractor")
	_, _ = fmt.Fprintf(w, `{"dbUser": "IAMR:extractor", "dbPassword": %q, "expiration": %d}`, password, ends.Unix())
}

// issueLogin makes a temporary password; an earlier one ends.
func (p *Peer) issueLogin(user string) (string, time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.issued++
	l := login{fmt.Sprintf("temporary-%d", p.issued), ending{time.Now().Add(p.options.LoginLasts)}}
	p.logins[user] = l
	return l.password, l.ends
}

func (p *Peer) issueToken() (string, time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	token, ends := fmt.Sprintf("session-token-%016d", len(p.tokens)+1), time.Now().Add(p.options.LoginLasts)
	p.tokens[token] = ending{ends}
	return token, ends
}

// put writes an object.
func (p *Peer) put(key string, data []byte) {
	f := p.call("PutObject", key)
	if f.Lose {
		return
	}
	if f.Mangle != nil {
		data = f.Mangle(slices.Clone(data))
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.objects[key] = data
}

// serveS3 answers what the driver asks of S3.
func (p *Peer) serveS3(w http.ResponseWriter, r *http.Request, body []byte) {
	key := strings.TrimPrefix(strings.TrimPrefix(r.URL.Path, "/"+Bucket), "/")
	switch {
	case r.Method == http.MethodGet && key != "":
		p.getObject(w, key)
	case r.Method == http.MethodGet && r.URL.Query().Get("list-type") == "2":
		p.listObjects(w, r.URL.Query().Get("prefix"))
	case r.Method == http.MethodPost && r.URL.Query().Has("delete"):
		p.deleteObjects(w, body)
	default:
		fail(w, true, http.StatusMethodNotAllowed, "MethodNotAllowed")
	}
}

func (p *Peer) getObject(w http.ResponseWriter, key string) {
	f := p.call("GetObject", key)
	p.mu.Lock()
	data, ok := p.objects[key]
	p.mu.Unlock()
	switch {
	case f.Status != 0:
		fail(w, true, f.Status, f.Code)
	case !ok:
		fail(w, true, http.StatusNotFound, "NoSuchKey")
	default:
		w.Header().Set("Content-Length", fmt.Sprint(len(data)))
		if f.Cut {
			_, _ = w.Write(data[:len(data)/2])
			panic(http.ErrAbortHandler) //nolint:forbidigo // how a handler cuts its connection
		}
		_, _ = w.Write(data)
	}
}

func (p *Peer) listObjects(w http.ResponseWriter, prefix string) {
	if f := p.call("ListObjects", prefix); f.Status != 0 {
		fail(w, true, f.Status, f.Code)
		return
	}
	type content struct {
		Key  string
		Size int
	}
	out := struct {
		XMLName     xml.Name `xml:"ListBucketResult"`
		IsTruncated bool
		Contents    []content
	}{}
	p.mu.Lock()
	for k, v := range p.objects {
		if strings.HasPrefix(k, prefix) {
			out.Contents = append(out.Contents, content{k, len(v)})
		}
	}
	p.mu.Unlock()
	w.Header().Set("Content-Type", "application/xml")
	_ = xml.NewEncoder(w).Encode(out)
}

func (p *Peer) deleteObjects(w http.ResponseWriter, body []byte) {
	if f := p.call("DeleteObjects", ""); f.Status != 0 {
		fail(w, true, f.Status, f.Code)
		return
	}
	var in struct {
		Objects []struct{ Key string } `xml:"Object"`
	}
	if xml.Unmarshal(body, &in) != nil {
		fail(w, true, http.StatusBadRequest, "MalformedXML")
		return
	}
	p.mu.Lock()
	for _, o := range in.Objects {
		delete(p.objects, o.Key)
	}
	p.mu.Unlock()
	w.Header().Set("Content-Type", "application/xml")
	_, _ = io.WriteString(w, "<DeleteResult></DeleteResult>")
}
