package alert

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/portaudit/portaudit/agent/audit"
)

// WebhookOptions say where a webhook posts to, and how. All but URL may be zero.
type WebhookOptions struct {
	// URL is of a receiver over HTTPS. One over HTTP is taken of this host itself,
	// and of others only if Insecure says so: everybody on the way reads along.
	URL      string
	Insecure bool

	Version       string        // of portaudit, for User-Agent
	Timeout       time.Duration // of one request, all of it; 0 is 10 s
	TLS           *tls.Config   // of whom to trust, and who this is
	Authorization string        // value of that header
	Signer        Signer
}

// Webhook is a Sender that posts each message as one HTTP request.
type Webhook struct {
	options WebhookOptions
	url     *url.URL
	format  Format
	client  *http.Client
	now     func() time.Time
}

const defaultTimeout = 10 * time.Second

// OpenWebhook returns a Sender of messages in a format. It opens no connection yet.
// An error says what of the options is wrong, and does not quote the URL: those of
// Slack are secrets.
func OpenWebhook(o WebhookOptions, format Format) (*Webhook, error) {
	u, err := url.Parse(strings.TrimSpace(o.URL))
	switch {
	case err != nil || u.Host == "" || u.Opaque != "":
		return nil, errors.New("url: it is none: write it like https://host.example/path")
	case u.Scheme != "https" && u.Scheme != "http":
		return nil, errors.New("url: it must begin with https://")
	case u.User != nil:
		return nil, errors.New("url: it holds a password: put it into a file of its own, and name that as basic_auth_file")
	case u.Scheme == "http" && !o.Insecure && !loopback(u.Hostname()):
		return nil, fmt.Errorf("url: http:// lets everybody on the way to %s read and change alerts: use https://, or say insecure: true", u.Host)
	}
	if o.Timeout == 0 {
		o.Timeout = defaultTimeout
	}
	return &Webhook{options: o, url: u, format: format, client: newClient(o), now: time.Now}, nil
}

// loopback reports whether a host is this one, by its name alone.
func loopback(host string) bool {
	ip, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && ip.IsLoopback()
}

func newClient(o WebhookOptions) *http.Client {
	dialer := net.Dialer{Timeout: o.Timeout, KeepAlive: 30 * time.Second}
	config := o.TLS.Clone()
	if config == nil {
		config = &tls.Config{}
	}
	config.MinVersion = tls.VersionTLS12
	return &http.Client{
		Transport: &http.Transport{
			Proxy: http.ProxyFromEnvironment, DialContext: dialer.DialContext, TLSClientConfig: config,
			ForceAttemptHTTP2: true, TLSHandshakeTimeout: o.Timeout, IdleConnTimeout: 90 * time.Second,
			MaxIdleConns: 1, MaxResponseHeaderBytes: 64 << 10,
		},
		// A redirect leads to where nobody said that alerts should go, and of a POST it
		// may make a GET.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// Send implements Sender.
func (w *Webhook) Send(ctx context.Context, m Message) error {
	body, err := w.format(m)
	if err != nil || body == nil {
		return err
	}
	return w.post(ctx, delivery{id: identity(m), seq: m.Event.Seq, body: body})
}

// Close implements Sender.
func (w *Webhook) Close() error {
	w.client.CloseIdleConnections()
	return nil
}

// delivery is what one request delivers.
type delivery struct {
	id   string // the same at each try
	seq  uint64 // of the record, 0 for none
	body []byte
}

// identity returns what a message is known by, the same however often it is sent:
// of a record the hash of its line, which no other record has.
func identity(m Message) string {
	if m.Hash != "" {
		return "record_" + m.Hash[:min(len(m.Hash), 32)]
	}
	b, err := json.Marshal(struct {
		Event   audit.Event
		Summary *Summary
	}{m.Event, m.Summary})
	if err != nil { // of a year beyond 9999: no format takes it either
		b = []byte(m.Event.Message)
	}
	sum := sha256.Sum256(b)
	return "message_" + hex.EncodeToString(sum[:16])
}

// post delivers one body. Its errors name the host, and no more of the URL.
func (w *Webhook) post(ctx context.Context, d delivery) error {
	ctx, cancel := context.WithTimeout(ctx, w.options.Timeout)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, w.url.String(), bytes.NewReader(d.body))
	if err != nil {
		return fmt.Errorf("webhook %s: %w", w.url.Host, bare(err))
	}
	w.setHeaders(r.Header, d)
	answer, err := w.client.Do(r)
	if err != nil {
		return fmt.Errorf("webhook %s: %w", w.url.Host, bare(err))
	}
	defer answer.Body.Close()
	said := firstLine(answer.Body)
	if err := w.judge(answer, said); err != nil {
		return fmt.Errorf("webhook %s: %w", w.url.Host, err)
	}
	return nil
}

func (w *Webhook) setHeaders(h http.Header, d delivery) {
	h.Set("Content-Type", "application/json")
	h.Set("User-Agent", "portaudit/"+audit.Visible(w.options.Version))
	h.Set("Webhook-Id", d.id)
	if d.seq != 0 {
		h.Set("X-Portaudit-Seq", strconv.FormatUint(d.seq, 10))
	}
	if w.options.Authorization != "" {
		h.Set("Authorization", w.options.Authorization)
	}
	w.options.Signer.sign(h, d, w.now())
}

// bare takes off what net/http puts around an error, which has the whole URL in it.
func bare(err error) error {
	var u *url.Error
	if errors.As(err, &u) {
		err = u.Err
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return errors.New("no answer in time")
	}
	// What a server says may be in it.
	return errors.New(audit.Visible(audit.Clip(err.Error(), maxSaid)))
}

const (
	maxSaid = 256      // bytes of what a receiver says that are told
	maxRead = 64 << 10 // bytes of it that are read, so that the connection can be used again
)

// firstLine reads what a receiver says, and returns what can be told of it.
func firstLine(r io.Reader) string {
	b, _ := io.ReadAll(io.LimitReader(r, maxRead)) // what counts is the status, which is here already
	line, _, _ := strings.Cut(strings.TrimSpace(string(b)), "\n")
	return audit.Visible(audit.Clip(strings.TrimSpace(line), maxSaid))
}

// judge says what a status means: nil that the message was taken. What is wrong
// with this message, and would be at the next try, is ErrRefused; all else is with
// the receiver, or with what was configured of it, and the message waits for it.
func (w *Webhook) judge(answer *http.Response, said string) error {
	code := answer.StatusCode
	err := fmt.Errorf("it answered %d %s", code, http.StatusText(code))
	if said != "" {
		err = fmt.Errorf("%w: %s", err, said)
	}
	switch {
	case code >= 200 && code < 300:
		return nil
	case code >= 300 && code < 400:
		return fmt.Errorf("%w: redirects are not followed: name the address at which it takes alerts", err)
	case code == http.StatusUnauthorized, code == http.StatusForbidden, code == http.StatusNotFound, code == http.StatusGone,
		code == http.StatusMethodNotAllowed, code == http.StatusProxyAuthRequired:
		return fmt.Errorf("%w: check its address and the secrets", err)
	case code == http.StatusTooManyRequests, code == http.StatusServiceUnavailable:
		if after, ok := afterOf(answer.Header.Get("Retry-After"), w.now()); ok {
			return &LaterError{After: after, Err: err}
		}
		return err
	case code == http.StatusRequestTimeout, code == http.StatusTooEarly, code == http.StatusMisdirectedRequest, code >= 500, code < 200:
		return err
	default:
		return fmt.Errorf("%w: %w", ErrRefused, err)
	}
}

// afterOf reads the header of that name (RFC 9110, 10.2.3): seconds, or a date.
func afterOf(text string, now time.Time) (time.Duration, bool) {
	if n, err := strconv.ParseUint(text, 10, 31); err == nil {
		return time.Duration(n) * time.Second, true
	}
	if at, err := http.ParseTime(text); err == nil {
		return max(at.Sub(now), 0), true
	}
	return 0, false
}
