# Generous, for machines that are busy.
ExUnit.start(assert_receive_timeout: 10_000)
