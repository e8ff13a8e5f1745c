defmodule Headcount.Build.PrecompiledNif do
  @moduledoc """
  The NIF as the release of this version has it: one archive for each platform, named as `.ci/package-nif` does.

  A package from Hex has the file `checksums.exs`, which `write_checksums/1` makes of the archives. Where the file
  is, the NIF is downloaded; an archive with another checksum is refused.
  """

  @root Path.expand("..", __DIR__)
  @checksums Path.join(@root, "checksums.exs")
  @timeout 120_000

  @doc "Returns the archive for this machine and its checksum; `nil` if there is none."
  @spec archive() :: {String.t(), String.t()} | nil
  def archive do
    with true <- File.regular?(@checksums),
         {checksums, _} = Code.eval_file(@checksums),
         target when target != nil <- target(to_string(:erlang.system_info(:system_architecture))) do
      Enum.find(checksums, fn {name, _checksum} -> String.contains?(name, "-#{target}.") end)
    else
      _none -> nil
    end
  end

  @doc """
  Returns the library of an archive: of an earlier download, or downloaded from a URL.
  """
  @spec fetch({String.t(), String.t()}, url :: String.t()) ::
          {:ok, Path.t()} | {:error, String.t()}
  def fetch({name, checksum}, url) do
    cached = Path.join(cache(), name)

    with {:error, _} <- read(cached, checksum),
         {:ok, archive} <- download("#{url}/#{name}"),
         :ok <- check(archive, checksum, "#{url}/#{name}") do
      File.mkdir_p!(cache())
      File.write!(cached, archive)
      unpack(archive, cached)
    else
      {:ok, archive} -> unpack(archive, cached)
      {:error, message} -> {:error, message}
    end
  end

  @doc "Writes the checksums of the archives of a folder, for the package."
  @spec write_checksums(Path.t()) :: :ok
  def write_checksums(folder) do
    names = folder |> Path.join("*.tar.gz") |> Path.wildcard() |> Enum.sort()
    if names == [], do: raise("there are no archives in #{folder}")
    checksums = Map.new(names, &{Path.basename(&1), checksum(File.read!(&1))})
    File.write!(@checksums, inspect(checksums, pretty: true, limit: :infinity) <> "\n")
  end

  @doc "Returns the target of an architecture as Erlang names it; `nil` if there is no archive for it."
  @spec target(String.t()) :: String.t() | nil
  def target("win32"), do: if(:erlang.system_info(:wordsize) == 8, do: "x86_64-pc-windows-msvc")

  def target(architecture) do
    [machine | rest] = String.split(architecture, "-")
    system = Enum.join(rest, "-")

    with machine when machine != nil <- machine(machine) do
      cond do
        system =~ "darwin" -> machine <> "-apple-darwin"
        system =~ "linux" and system =~ "musl" -> machine <> "-unknown-linux-musl"
        system =~ "linux" -> machine <> "-unknown-linux-gnu"
        true -> nil
      end
    end
  end

  defp machine(machine) when machine in ["x86_64", "amd64"], do: "x86_64"
  defp machine(machine) when machine in ["aarch64", "arm64"], do: "aarch64"
  defp machine(_other), do: nil

  defp cache, do: :filename.basedir(:user_cache, "headcount") |> to_string()

  defp read(path, checksum) do
    with {:ok, archive} <- File.read(path),
         :ok <- check(archive, checksum, path),
         do: {:ok, archive}
  end

  defp check(archive, checksum, from) do
    if checksum(archive) == checksum,
      do: :ok,
      else: {:error, "#{from} has another checksum than this package says, and is not used"}
  end

  defp checksum(archive),
    do: "sha256:" <> Base.encode16(:crypto.hash(:sha256, archive), case: :lower)

  # Each archive has the library and nothing else.
  defp unpack(archive, cached) do
    {:ok, [{_name, library}]} = :erl_tar.extract({:binary, archive}, [:compressed, :memory])
    path = Path.rootname(cached, ".tar.gz")
    File.write!(path, library)
    {:ok, path}
  end

  defp download(url) do
    Enum.each([:inets, :ssl], &start/1)
    request = {String.to_charlist(url), []}
    # Several requests, as a release redirects to its storage.
    http = [timeout: @timeout, connect_timeout: 10_000, autoredirect: true] ++ tls(url)

    case :httpc.request(:get, request, http, body_format: :binary) do
      {:ok, {{_version, 200, _reason}, _headers, body}} -> {:ok, body}
      {:ok, {{_version, status, _reason}, _headers, _body}} -> {:error, failed(url, status)}
      {:error, reason} -> {:error, failed(url, reason)}
    end
  end

  # Newer versions of Mix hide what a project does not name.
  defp start(app) do
    if function_exported?(Mix, :ensure_application!, 1),
      do: apply(Mix, :ensure_application!, [app])

    {:ok, _} = Application.ensure_all_started(app)
  end

  defp tls("https:" <> _rest) do
    match = :public_key.pkix_verify_hostname_match_fun(:https)
    hostname = [customize_hostname_check: [match_fun: match]]
    [ssl: [verify: :verify_peer, cacerts: :public_key.cacerts_get(), depth: 3] ++ hostname]
  end

  defp tls(_url), do: []

  defp failed(url, reason) do
    "headcount cannot download its NIF from #{url}: #{inspect(reason)}. Set HEADCOUNT_NIF_URL to a mirror, " <>
      "HEADCOUNT_NIF_PATH to a library, or HEADCOUNT_BUILD=1 to build it with cargo."
  end
end
