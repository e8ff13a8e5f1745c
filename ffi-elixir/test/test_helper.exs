# The NATS transport is in the NIF only when it was built with it.
nats? = Headcount.Native.nats_connect("nats://127.0.0.1:1", "", self()) != :not_built

# Generous, for machines that are busy.
ExUnit.start(
  capture_log: true,
  assert_receive_timeout: 10_000,
  exclude: if(nats?, do: [], else: [:nats])
)
