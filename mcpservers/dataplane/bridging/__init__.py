"""Join a caller and an upstream that speak different revisions of MCP (contract §6, issue "both sides").

The official SDK speaks to the upstream: its transports, its dispatcher, its types. What is written here only joins:
`agreement` says whether there is anything to bridge, `modern_caller` and `session_caller` face the caller, `pool` and
`connection` hold what is open upstream, `shapes` turns the one revision's objects into the other's.
"""
