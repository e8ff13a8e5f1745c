defmodule Headcount.Collation do
  @moduledoc """
  The order of names in a language, by the Unicode collation algorithm with the data of CLDR.

  It makes sort keys, which lists and tables take as `:key` instead of a `:name`. Upper and lower case sort
  together; accents decide between names that are equal without them. Keys of different collations, or of
  names without one, must not meet in one group.

      iex> alias Headcount.{Collation, MemberList}
      iex> german = Collation.new!("de")
      iex> list = MemberList.new(groups: ["online"])
      iex> for {id, name} <- [{1, "Max"}, {2, "Mörk"}, {3, "Moritz"}] do
      ...>   MemberList.upsert!(list, id, group: "online", key: Collation.key(german, name))
      ...> end
      iex> for %{id: id} <- MemberList.slice(list, 0, 9), do: id
      [1, 3, 2]
      iex> MemberList.find_prefix(list, {:key, Collation.prefix(german, "MOR")})
      [{"online", 2}]
  """

  import Headcount.Bang, only: [bang: 1]
  alias Headcount.Native

  # The key of a text of so many bytes takes far less than a millisecond.
  @short 1_024

  @enforce_keys [:ref, :locale]
  defstruct [:ref, :locale]

  @type t :: %__MODULE__{ref: reference(), locale: String.t()}

  @doc """
  Loads the order of a locale such as `"sv"` or `"de-u-co-phonebk"`.

  Locales without rules of their own have the order of the root.

      iex> {:ok, swedish} = Headcount.Collation.new("sv")
      iex> Enum.sort_by(["Zoë", "Östen", "anna"], &Headcount.Collation.key(swedish, &1))
      ["anna", "Zoë", "Östen"]
      iex> {:error, {:bad_locale, _}} = Headcount.Collation.new("not a locale")
  """
  @spec new(String.t()) :: {:ok, t()} | {:error, {atom(), String.t()}}
  def new(locale) when is_binary(locale) do
    with {:ok, ref} <- Native.collation_new(locale) do
      {:ok, %__MODULE__{ref: ref, locale: locale}}
    end
  end

  bang(new!(locale :: String.t()) :: t())

  @doc """
  Returns the sort key of a name, at most 64 bytes. To find names by a prefix, use `prefix/2`. O(length).

      iex> german = Headcount.Collation.new!("de")
      iex> Headcount.Collation.key(german, "ANNA") == Headcount.Collation.key(german, "anna")
      true
  """
  @spec key(t(), String.t()) :: binary()
  def key(%__MODULE__{ref: ref}, name) when is_binary(name), do: key_of(ref, name, false)

  @doc """
  Returns the prefix by which `{:key, prefix}` finds the names that begin with a text.

  Case does not count, nor do accents, except where the language has a letter of its own for them. A vowel that is
  written before the consonant by which it sorts, as in Thai and Lao, does not count at the end of a text. O(length).

      iex> german = Headcount.Collation.new!("de")
      iex> key = Headcount.Collation.key(german, "Örtlich")
      iex> String.starts_with?(key, Headcount.Collation.prefix(german, "ort"))
      true
  """
  @spec prefix(t(), String.t()) :: binary()
  def prefix(%__MODULE__{ref: ref}, text) when is_binary(text), do: key_of(ref, text, true)

  defp key_of(ref, text, prefix?) when byte_size(text) <= @short do
    Native.collation_key(ref, text, prefix?)
  end

  defp key_of(ref, text, prefix?) when is_binary(text) do
    Native.collation_key_of_long(ref, text, prefix?)
  end

  defimpl Inspect do
    def inspect(collation, _opts), do: "#Headcount.Collation<#{collation.locale}>"
  end
end
