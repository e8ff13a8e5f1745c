Code.require_file("build/compile_nif.exs", __DIR__)

defmodule Headcount.MixProject do
  use Mix.Project

  @version "0.1.0"
  @source "https://github.com/headcount-rs/headcount"

  def project do
    [
      app: :headcount,
      version: @version,
      elixir: "~> 1.14",
      compilers: [:headcount_nif] ++ Mix.compilers(),
      elixirc_options: [warnings_as_errors: true],
      elixirc_paths: elixirc_paths(Mix.env()),
      start_permanent: Mix.env() == :prod,
      deps: deps(),
      aliases: aliases(),
      description:
        "Real-time presence as a delta-CRDT, and sorted, sliced member lists for millions",
      package: package(),
      source_url: @source,
      docs: docs()
    ] ++
      if(Version.match?(System.version(), "< 1.15.0"),
        do: [{:preferred_cli_env, cli()[:preferred_envs]}],
        else: []
      )
  end

  # Elixir 1.14 reads it from the project.
  def cli, do: [preferred_envs: [bench: :prod]]

  def application do
    [mod: {Headcount.Application, []}, extra_applications: [:logger, :crypto]]
  end

  defp elixirc_paths(:test), do: ["lib", "test/support"]
  defp elixirc_paths(_env), do: ["lib"]

  # Empty on purpose: a project without Hex can use this one. The tools of its developers are
  # asked for by name.
  defp deps do
    if System.get_env("HEADCOUNT_DEV_TOOLS") == "1" do
      [
        {:ex_doc, "~> 0.34", only: :dev, runtime: false},
        {:dialyxir, "~> 1.4", only: :dev, runtime: false},
        {:stream_data, "~> 1.1", only: [:dev, :test]}
      ]
    else
      []
    end
  end

  defp aliases do
    [bench: "run bench/bench.exs"]
  end

  defp package do
    [
      files: ~w(lib build/compile_nif.exs build/precompiled_nif.exs native/headcount_nif/src
          native/headcount_nif/Cargo.toml native/headcount_nif/.cargo guides mix.exs .formatter.exs
          README.md CHANGELOG.md LICENSE-APACHE LICENSE-MIT) ++ checksums(),
      licenses: ["MIT", "Apache-2.0"],
      links: %{"GitHub" => @source}
    ]
  end

  # With this file the NIF is downloaded; a checkout has none.
  defp checksums, do: Enum.filter(["checksums.exs"], &File.exists?(Path.join(__DIR__, &1)))

  defp docs do
    [
      main: "readme",
      extras: ["README.md", "CHANGELOG.md" | Path.wildcard("guides/*.md")],
      groups_for_extras: [Guides: ~r"guides/"]
    ]
  end
end
