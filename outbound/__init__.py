"""The one guarded way out: every request to an address that someone typed.

`addresses` judges, at save and again when a connection is opened; `sync`
(requests), `http1` (our own, for the data plane) and `mcp_http` (httpx2) are
three transports that can only connect to what was judged. All of them verify TLS, follow no
redirect, read no proxy variable and raise only the errors of `errors`.
"""
