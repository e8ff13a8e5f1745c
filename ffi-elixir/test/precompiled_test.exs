defmodule Headcount.PrecompiledTest do
  # A package with checksums compiles without cargo: its NIF comes from a server.
  use ExUnit.Case, async: false

  @root Path.expand("..", __DIR__)
  @moduletag timeout: 300_000

  Code.require_file(Path.join(@root, "build/precompiled_nif.exs"))
  alias Headcount.Build.PrecompiledNif

  setup do
    dir =
      Path.join(
        System.tmp_dir!(),
        "headcount-#{System.pid()}-#{System.unique_integer([:positive])}"
      )

    on_exit(fn -> File.rm_rf!(dir) end)
    for name <- ~w(served package cache), do: File.mkdir_p!(Path.join(dir, name))
    copy_package(Path.join(dir, "package"))
    pack(Path.join(dir, "served"))
    {:ok, dir: dir, url: serve(Path.join(dir, "served"))}
  end

  # The files that Hex would get, without the sources of the NIF.
  defp copy_package(to) do
    for path <-
          ~w(mix.exs lib build/compile_nif.exs build/precompiled_nif.exs build/checksums.exs) do
      File.mkdir_p!(Path.dirname(Path.join(to, path)))
      File.cp_r!(Path.join(@root, path), Path.join(to, path))
    end
  end

  # As `.ci/package-nif` names it.
  defp pack(served) do
    target = PrecompiledNif.target(to_string(:erlang.system_info(:system_architecture)))
    name = "libheadcount_nif-v0.1.0-nif-2.15-#{target}.so"
    nif = Application.app_dir(:headcount, "priv/native/headcount_nif.so")
    archive = String.to_charlist(Path.join(served, name <> ".tar.gz"))
    files = [{String.to_charlist(name), File.read!(nif)}]
    :ok = :erl_tar.create(archive, files, [:compressed])
  end

  defp serve(served) do
    if function_exported?(Mix, :ensure_application!, 1),
      do: apply(Mix, :ensure_application!, [:inets])

    {:ok, _} = Application.ensure_all_started(:inets)
    served = String.to_charlist(served)

    {:ok, server} =
      :inets.start(:httpd,
        port: 0,
        bind_address: {127, 0, 0, 1},
        server_name: ~c"localhost",
        server_root: served,
        document_root: served
      )

    on_exit(fn -> :inets.stop(:httpd, server) end)
    [port: port] = :httpd.info(server, [:port])
    "http://127.0.0.1:#{port}"
  end

  # Where there is no cargo.
  defp run(dir, url, [command | args]) do
    paths = for tool <- ~w(mix erl), do: Path.dirname(System.find_executable(tool))
    path = Enum.join(Enum.uniq(paths) ++ ["/usr/bin", "/bin"], ":")

    env = [
      {"PATH", path},
      {"MIX_ENV", "prod"},
      {"XDG_CACHE_HOME", Path.join(dir, "cache")},
      {"HEADCOUNT_NIF_URL", url},
      {"HEADCOUNT_NIF_FEATURES", nil},
      {"HEADCOUNT_NIF_PATH", nil},
      {"MIX_BUILD_PATH", nil}
    ]

    System.cmd(command, args, cd: Path.join(dir, "package"), env: env, stderr_to_stdout: true)
  end

  defp checksums(dir), do: Path.join([dir, "package", "checksums.exs"])

  test "the NIF is downloaded, checked and kept", %{dir: dir, url: url} do
    {"", 0} = run(dir, url, ["elixir", "build/checksums.exs", Path.join(dir, "served")])
    session = "1 = Headcount.SortedSet.size(Headcount.SortedSet.from_enumerable([:a]))"
    assert {out, 0} = run(dir, url, ["mix", "run", "-e", session])
    refute out =~ "cargo"

    # It is there without the server.
    File.rm_rf!(Path.join(dir, "package/_build"))
    assert {_, 0} = run(dir, "http://127.0.0.1:1", ["mix", "run", "-e", session])

    # What somebody changed is not used, from the cache nor from the server.
    File.rm_rf!(Path.join(dir, "package/_build"))
    text = File.read!(checksums(dir))
    File.write!(checksums(dir), String.replace(text, ~r/sha256:..../, "sha256:0000"))
    assert {out, 1} = run(dir, url, ["mix", "compile"])
    assert out =~ "has another checksum"

    refute File.exists?(
             Path.join(dir, "package/_build/prod/lib/headcount/priv/native/headcount_nif.so")
           )
  end

  test "a server that is not there, and a platform that is not served", %{dir: dir, url: url} do
    {"", 0} = run(dir, url, ["elixir", "build/checksums.exs", Path.join(dir, "served")])
    assert {out, 1} = run(dir, "http://127.0.0.1:1", ["mix", "compile"])
    assert out =~ "cannot download its NIF" and out =~ "HEADCOUNT_BUILD=1"
    assert {out, 1} = run(dir, url <> "/elsewhere", ["mix", "compile"])
    assert out =~ "404"

    # Without an archive it is built with cargo, which is not there.
    text = File.read!(checksums(dir))
    File.write!(checksums(dir), String.replace(text, "-unknown-", "-other-"))
    assert {out, 1} = run(dir, url, ["mix", "compile"])
    assert out =~ "builds its NIF with cargo"
  end

  test "platforms" do
    for {architecture, target} <- [
          {"x86_64-pc-linux-gnu", "x86_64-unknown-linux-gnu"},
          {"aarch64-unknown-linux-gnu", "aarch64-unknown-linux-gnu"},
          {"x86_64-alpine-linux-musl", "x86_64-unknown-linux-musl"},
          {"aarch64-apple-darwin23.5.0", "aarch64-apple-darwin"},
          {"x86_64-apple-darwin21.6.0", "x86_64-apple-darwin"},
          {"win32", "x86_64-pc-windows-msvc"},
          {"riscv64-unknown-linux-gnu", nil},
          {"amd64-portbld-freebsd14.0", nil}
        ] do
      assert PrecompiledNif.target(architecture) == target
    end

    # Each of them is built for a release, with NATS in it.
    workflow = File.read!(Path.join(@root, "../.github/workflows/nifs.yml"))

    for {_, target} <- [x: "aarch64-apple-darwin", y: "x86_64-unknown-linux-musl"],
        do: assert(workflow =~ target)

    assert File.read!(Path.join(@root, "../.ci/package-nif")) =~ "--features nats"
  end
end
