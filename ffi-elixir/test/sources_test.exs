defmodule Headcount.SourcesTest do
  # What newer versions of Elixir deprecate is in no source, though 1.14 takes it.
  use ExUnit.Case, async: true

  @root Path.expand("..", __DIR__)
  @sources Enum.flat_map(
             ~w(mix.exs lib/**/*.ex test/**/*.{ex,exs} bench/*.exs build/*.exs),
             &Path.wildcard(Path.join(@root, &1))
           )

  @calls ~w(Logger.warn Logger.configure_backend Logger.add_backend Logger.remove_backend Code.load_file
            System.get_pid String.strip Tuple.append)

  defp deprecated({:__block__, meta, [value]}) when is_list(value) do
    if meta[:delimiter] in ["'", "\'\'\'"],
      do: [{meta[:line], "a charlist in single quotes"}],
      else: []
  end

  defp deprecated({:unless, meta, [_ | _]}), do: [{meta[:line], "unless"}]

  defp deprecated({{:., _, [{:__aliases__, meta, [module]}, name]}, _, _args}) do
    call = "#{module}.#{name}"
    if call in @calls, do: [{meta[:line], call}], else: []
  end

  defp deprecated(_node), do: []

  defp faults(text) do
    literals = fn literal, meta -> {:ok, {:__block__, meta, [literal]}} end
    ast = Code.string_to_quoted!(text, literal_encoder: literals, token_metadata: true)

    {_ast, faults} =
      Macro.prewalk(ast, [], fn node, faults -> {node, deprecated(node) ++ faults} end)

    faults
  end

  test "no source has what is deprecated up to Elixir 1.18" do
    assert length(@sources) > 40
    faults = for file <- @sources, fault <- faults(File.read!(file)), do: {file, fault}
    assert faults == []
  end

  test "the check finds what it looks for" do
    assert [{1, "a charlist" <> _}] = faults("x = 'abc'")
    assert [{1, "unless"}] = faults("unless x, do: 1")
    assert [{1, "Logger.warn"}] = faults("Logger.warn(1)")
    backend = "Logger.configure_backend"
    assert [{1, ^backend}] = faults("Logger.configure_backend(:console, device: :standard_error)")
    assert faults(~S(~c"abc")) == []
  end

  test "the NIF of a release is stripped, and links on macOS and musl" do
    config = File.read!(Path.join(@root, "native/headcount_nif/.cargo/config.toml"))
    assert config =~ ~s(target_os = "macos") and config =~ "dynamic_lookup"
    assert config =~ ~s(target_env = "musl") and config =~ "-crt-static"
    nif = Application.app_dir(:headcount, "priv/native/headcount_nif.so")
    assert File.stat!(nif).size < 13_000_000
  end
end
