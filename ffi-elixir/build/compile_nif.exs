Code.require_file("precompiled_nif.exs", __DIR__)

defmodule Mix.Tasks.Compile.HeadcountNif do
  @moduledoc """
  Installs the NIF into the build directory of the app: from the release if the package has `checksums.exs` and
  the release has the platform, else built with cargo.

  Environment:

    * `HEADCOUNT_BUILD=1` - build with cargo in any case
    * `HEADCOUNT_NIF_URL` - where the archives of the release are, such as a mirror

    * `HEADCOUNT_NIF_PATH` - a library that is built already (packagers, Nix, releases): it is
      installed as it is, and cargo is not needed
    * `HEADCOUNT_NIF_FEATURES` - cargo features of the NIF, separated by commas, such as `nats`
    * `CARGO_TARGET_DIR` - where cargo builds, as everywhere
  """

  use Mix.Task.Compiler
  alias Headcount.Build.PrecompiledNif

  @recursive true
  @crate Path.expand("../native/headcount_nif", __DIR__)
  @manifest "compile.headcount_nif"

  @impl true
  def run(_args) do
    with {:ok, library} <- library() do
      install(library)
    else
      {:error, message} -> {:error, [diagnostic(message)]}
    end
  end

  @impl true
  def manifests, do: [manifest()]

  @impl true
  def clean do
    File.rm(installed())
    File.rm(manifest())
    :ok
  end

  defp library do
    case System.get_env("HEADCOUNT_NIF_PATH") do
      path when path in [nil, ""] -> fetch_or_build()
      path -> if File.regular?(path), do: {:ok, path}, else: {:error, missing(path)}
    end
  end

  defp fetch_or_build do
    forced? = System.get_env("HEADCOUNT_BUILD") == "1"
    archive = if forced?, do: nil, else: PrecompiledNif.archive()
    if archive, do: PrecompiledNif.fetch(archive, url()), else: build()
  end

  defp url do
    config = Mix.Project.config()
    release = "#{config[:source_url]}/releases/download/v#{config[:version]}"
    System.get_env("HEADCOUNT_NIF_URL") || release
  end

  defp build do
    case System.find_executable("cargo") do
      nil -> {:error, no_cargo()}
      cargo -> build(cargo)
    end
  end

  defp build(cargo) do
    args = ["build", "--release", "--quiet" | features()]

    with {:ok, target} <- target_dir(cargo),
         {:ok, _} <- cargo(cargo, args, into: IO.stream(:stdio, :line)) do
      {:ok, Path.join([target, "release", cargo_library()])}
    end
  end

  # Cargo knows where it builds: CARGO_TARGET_DIR, a configuration file or a workspace.
  defp target_dir(cargo) do
    args = ["metadata", "--no-deps", "--format-version", "1"]

    with {:ok, json} <- cargo(cargo, args, stderr_to_stdout: false) do
      [_, dir] = Regex.run(~r/"target_directory":"((?:[^"\\]|\\.)*)"/, json)
      {:ok, String.replace(dir, "\\\\", "\\")}
    end
  end

  defp cargo(cargo, args, options) do
    options = Keyword.merge([cd: @crate, stderr_to_stdout: true], options)

    case System.cmd(cargo, args, options) do
      {out, 0} -> {:ok, out}
      {_, code} -> {:error, "cargo #{hd(args)} failed with status #{code}; see its output above"}
    end
  end

  defp features do
    case System.get_env("HEADCOUNT_NIF_FEATURES") do
      features when features in [nil, ""] -> []
      features -> ["--features", features]
    end
  end

  # A VM may have the old library mapped: a new file leaves that one alone, a write into it would not.
  defp install(library) do
    hash = :erlang.md5(File.read!(library)) |> Base.encode16()

    if File.exists?(installed()) and File.read(manifest()) == {:ok, hash} do
      {:noop, []}
    else
      File.mkdir_p!(Path.dirname(installed()))
      File.rm(installed())
      File.cp!(library, installed())
      File.mkdir_p!(Path.dirname(manifest()))
      File.write!(manifest(), hash)
      {:ok, []}
    end
  end

  defp installed do
    extension = if windows?(), do: ".dll", else: ".so"
    Path.join([Mix.Project.app_path(), "priv", "native", "headcount_nif" <> extension])
  end

  defp manifest, do: Path.join(Mix.Project.manifest_path(), @manifest)

  defp cargo_library do
    case :os.type() do
      {:win32, _} -> "headcount_nif.dll"
      {:unix, :darwin} -> "libheadcount_nif.dylib"
      _ -> "libheadcount_nif.so"
    end
  end

  defp windows?, do: match?({:win32, _}, :os.type())

  defp missing(path), do: "HEADCOUNT_NIF_PATH names #{path}, which is not a file"

  defp no_cargo do
    "headcount builds its NIF with cargo, which is not on the PATH. Install Rust from " <>
      "https://rustup.rs, or set HEADCOUNT_NIF_PATH to a library that is built already."
  end

  defp diagnostic(message) do
    Mix.shell().error(message)

    %Mix.Task.Compiler.Diagnostic{
      compiler_name: "headcount_nif",
      file: Path.join(@crate, "Cargo.toml"),
      message: message,
      position: nil,
      severity: :error
    }
  end
end
