defmodule Headcount.SavedFile do
  @moduledoc false

  alias Headcount.Native

  # Bytes of a file that are made before others may use what is saved: less than a millisecond.
  @step 131_072

  @doc false
  # Writes a save beside the path and renames the file at the end, so that an old one stays until then.
  @spec write(Path.t(), reference()) :: :ok | {:error, {atom(), String.t()}}
  def write(path, save) do
    path = IO.chardata_to_string(path)
    part = path <> ".part"

    case write_part(part, save) do
      :ok -> io(:file.rename(part, path))
      error -> tap(error, fn _ -> :file.delete(part) end)
    end
  end

  defp write_part(part, save) do
    with {:ok, file} <- io(:file.open(part, [:write, :raw, :binary])) do
      written = write_steps(file, save)
      closed = io(:file.close(file))
      if written == :ok, do: closed, else: written
    end
  end

  defp write_steps(file, save) do
    with {:ok, {over?, data}} <- Native.save_step(save, @step),
         :ok <- io(:file.write(file, data)) do
      if over?, do: io(:file.sync(file)), else: write_steps(file, save)
    end
  end

  defp io({:error, reason}), do: {:error, {:io, to_string(:file.format_error(reason))}}
  defp io(done), do: done
end
