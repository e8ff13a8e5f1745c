defmodule Headcount.Test.Saves do
  @moduledoc false
  # What tests of saved lists and of saved tables share.

  import ExUnit.Assertions
  alias Headcount.Test.Wait

  # Checks that a save is refused while another one runs, in a process that `begin` starts it in, and goes through
  # once that process is gone.
  def assert_one_at_a_time(begin, save, path) do
    parent = self()

    {pid, monitor} =
      spawn_monitor(fn ->
        {:ok, running} = begin.()
        send(parent, :begun)
        receive do: (:stop -> running)
      end)

    assert_receive :begun
    assert {:error, {:running, _}} = save.()
    refute File.exists?(path)
    send(pid, :stop)
    assert_receive {:DOWN, ^monitor, _, _, _}
    # The resource goes with the heap of the process, a moment after its end.
    Wait.until(fn -> save.() == :ok end)
  end

  # Checks that the file is refused when it is cut or altered, and leaves it as it was.
  def assert_broken_files_are_refused(path, load) do
    file = File.read!(path)

    for {content, what} <- [
          {"", :not_a_save},
          {"{}", :not_a_save},
          {binary_part(file, 0, 20), :cut},
          {binary_part(file, 0, byte_size(file) - 1), :cut},
          {file <> "x", :damaged},
          {"HCmember" <> <<9::little-32>> <> file, :newer_version}
        ] do
      File.write!(path, content)
      assert {:error, {^what, message}} = load.()
      assert is_binary(message)
    end

    for at <- 12..(byte_size(file) - 1)//13 do
      <<before::binary-size(at), byte, rest::binary>> = file
      File.write!(path, [before, Bitwise.bxor(byte, 1), rest])
      assert {:error, {what, _}} = load.()
      assert what in [:damaged, :cut]
    end

    File.write!(path, file)
  end
end
