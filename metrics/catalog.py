"""Every instrument of the gateway. docs/operations.md explains them; the floors only count."""

from metrics.instruments import SECONDS, Counter, Histogram, Level

REFRESH_RESULTS = (
    "renewed",
    "rejected",
    "lost_rotation",
    "late",
    "unavailable",
    "throttled",
    "refused",
    "client_refused",
    "secret_missing",
    "unreadable",
)
REVOCATION_RESULTS = ("revoked", "unsupported", "pending", "failed")
CONSENT_RESULTS = ("started", "connected", "declined", "refused", "expired", "provider_failed")
SEALED_KINDS = (
    "secret",
    "vaultentry",
    "pendingrevocation",
    "keycheck",
    "consentrequest",
    "devicerequest",
    "servicetoken",
)
CALL_OUTCOMES = ("answered", "tool_error", "error", "consent", "refused", "unavailable", "cut_off", "failed")
CONSENT_RUNGS = ("input_required", "elicitation", "url_elicitation_required", "tool_result", "error")

refreshes = Counter("aigw_refreshes", "Requests for new tokens, by what came of them.", result=REFRESH_RESULTS)
refresh_seconds = Histogram("aigw_refresh_seconds", "How long token endpoints took to answer a refresh.")
lease_waits = Histogram(
    "aigw_lease_wait_seconds",
    "How long callers waited for a refresh that another caller had begun, in the same process or another one.",
    holder=("same_process", "other_process"),
)
lease_waiters = Level("aigw_lease_waiters", "Callers that wait at the moment for a refresh that another has begun.")
scan_seconds = Histogram("aigw_scan_seconds", "How long the scans for due entries took.")
revocations = Counter("aigw_revocations", "Revocations at providers, by result of each try.", result=REVOCATION_RESULTS)
consents = Counter("aigw_consents", "Consents, by how far they came.", result=CONSENT_RESULTS)
decrypt_failures = Counter(
    "aigw_decrypt_failures",
    "Stored values that did not open: altered, moved, or sealed under a lost key.",
    of=SEALED_KINDS,
)

calls = Counter("aigw_mcp_calls", "Requests to MCP servers, by what came of them.", outcome=CALL_OUTCOMES)
calls_in_flight = Level("aigw_mcp_calls_in_flight", "Requests to MCP servers that are being served at the moment.")
call_seconds = Histogram(
    "aigw_mcp_call_seconds",
    "How long requests took without the wait for the MCP server or for a user who is asked to connect.",
    bounds=(0.00025, 0.0005, *SECONDS),
)
upstream_seconds = Histogram("aigw_mcp_upstream_seconds", "How long requests waited for the MCP server.")
call_bytes = Counter("aigw_mcp_bytes", "Bytes of requests' and answers' bodies.", direction=("in", "out"))
consent_offers = Counter("aigw_mcp_consent_offers", "Offers to connect, by how they were made.", rung=CONSENT_RUNGS)
calls_not_recorded = Counter("aigw_mcp_calls_not_recorded", "Calls without a row: the database could not keep up.")

# What the charts of the admin show over time.
KEPT = (refreshes, lease_waits, scan_seconds, revocations, consents, decrypt_failures)
