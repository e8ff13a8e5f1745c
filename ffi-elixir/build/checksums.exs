# Writes checksums.exs, with which a package downloads its NIF: `elixir build/checksums.exs FOLDER_OF_ARCHIVES`.
Code.require_file("precompiled_nif.exs", __DIR__)
[folder] = System.argv()
Headcount.Build.PrecompiledNif.write_checksums(folder)
