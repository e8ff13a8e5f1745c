defmodule Headcount.Application do
  @moduledoc false
  use Application

  @impl true
  def start(_type, _args) do
    children = [%{id: :pg, start: {:pg, :start_link, [Headcount.Transport.PG]}}]
    Supervisor.start_link(children, strategy: :one_for_one, name: Headcount.Supervisor)
  end
end
