# `mix bench` runs all of them, `mix bench sorted_set` one.
Code.require_file("support.exs", __DIR__)

benches = ~w(sorted_set member_list tracker list presence join schedule)

chosen =
  case System.argv() do
    [] -> benches
    some -> some
  end

IO.puts("#{System.schedulers_online()} schedulers, OTP #{System.otp_release()}")
for name <- chosen, do: Code.require_file("#{name}.exs", __DIR__)
