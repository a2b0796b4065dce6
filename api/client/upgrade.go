package client

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"

	"naru/api"
	"naru/naru"
)

// upgrade sends a request on a connection of its own and takes the connection over when the daemon agrees.
func (c *Client) upgrade(ctx context.Context, protocol, path string, query url.Values, body any) (net.Conn, error) {
	r, err := request(ctx, http.MethodPost, path, query, body)
	if err != nil {
		return nil, err
	}
	r.Header.Set("Connection", "Upgrade")
	r.Header.Set("Upgrade", protocol)
	conn, err := c.dial(ctx)
	if err != nil {
		return nil, err
	}
	up, err := shake(conn, r)
	if err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	return up, nil
}

func shake(conn net.Conn, r *http.Request) (net.Conn, error) {
	if err := r.Write(conn); err != nil {
		return nil, lost(err)
	}
	in := bufio.NewReader(conn)
	resp, err := http.ReadResponse(in, r)
	if err != nil {
		return nil, lost(err)
	}
	if resp.StatusCode != http.StatusSwitchingProtocols {
		return nil, answeredError(resp)
	}
	return &bufferedConn{conn, in}, nil
}

// bufferedConn reads first what had been read ahead.
type bufferedConn struct {
	net.Conn
	r io.Reader
}

func (c *bufferedConn) Read(p []byte) (int, error) { return c.r.Read(p) }

// CloseWrite tells the daemon that nothing more will come.
func (c *bufferedConn) CloseWrite() error {
	if w, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return w.CloseWrite()
	}
	return naru.Errorf(naru.Unimplemented, "connection cannot be closed in one direction")
}

// Session opens the connection on which a build fetches the app's folder.
func (c *Client) Session(ctx context.Context) (net.Conn, error) {
	return c.upgrade(ctx, api.UpgradeSession, "/v1/session", nil, nil)
}
