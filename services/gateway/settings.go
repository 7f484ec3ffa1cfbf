package gateway

import "time"

// Settings are the service's own. The zero value of a field is its default.
type Settings struct {
	Hosts       []string      `placeholder:"NAME" help:"Names that it may be called by, besides addresses and localhost; * for all. Needed where other machines reach the HTTP address: it asks no one who they are."`
	MaxBody     int64         `default:"4194304" help:"Bytes of one request's body that are taken."`
	MaxBodies   int64         `default:"33554432" help:"Bytes of the bodies of all requests in hand; what comes beyond is told to wait."`
	MaxRequests int           `default:"64" help:"Requests that are answered at the same time; what comes beyond is told to wait."`
	MaxStreams  int           `default:"64" help:"Requests that are answered by a stream at the same time, such as a watched run."`
	ReadTimeout time.Duration `default:"30s" help:"How long a request's body may take to arrive."`
	CallTimeout time.Duration `default:"2m" help:"How long a request may take that is not answered by a stream; previews wait for warehouses."`
	SendTimeout time.Duration `default:"30s" help:"How long a client may take to receive a piece of an answer."`
}

// complete fills in what was left out, as the tags say.
func (s Settings) complete() Settings {
	fill(&s.MaxBody, 4<<20)
	fill(&s.MaxBodies, 32<<20)
	s.MaxBodies = max(s.MaxBodies, s.MaxBody)
	fill(&s.MaxRequests, 64)
	fill(&s.MaxStreams, 64)
	fill(&s.ReadTimeout, 30*time.Second)
	fill(&s.CallTimeout, 2*time.Minute)
	fill(&s.SendTimeout, 30*time.Second)
	return s
}

func fill[N ~int | ~int64](v *N, d N) {
	if *v <= 0 {
		*v = d
	}
}
