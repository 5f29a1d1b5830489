"""HTTP/1.1 of the data plane (RFC 9110, RFC 9112): guarded, pooled, streaming, bytes untouched.

`wire` is one connection, `opening` makes one to a judged address, `keeping` says which may be used again and by whom,
`client` puts them together. What it leaves out on purpose: redirects, proxies, cookies, decompression, HTTP/2.
"""
