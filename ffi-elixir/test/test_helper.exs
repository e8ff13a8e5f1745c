# The NATS transport is in the NIF only when it was built with it.
{:error, reason} = Headcount.Transport.NATS.init("", user: "without a password")
nats? = not String.starts_with?(reason, "the NIF was built without nats")

# Generous, for machines that are busy.
ExUnit.start(
  capture_log: true,
  assert_receive_timeout: 10_000,
  exclude: if(nats?, do: [], else: [:nats])
)
