# Prints the files of the Hex package, one a line: `mix run --no-compile --no-start build/package_files.exs`.
for pattern <- Mix.Project.config()[:package][:files] do
  found = Path.wildcard(pattern, match_dot: true)
  if found == [], do: raise("mix.exs names #{pattern} for the package, and there is no such file")

  for path <- found,
      file <- [path | Path.wildcard(path <> "/**", match_dot: true)],
      File.regular?(file),
      do: IO.puts(file)
end
