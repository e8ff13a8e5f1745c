[
  inputs: ["{mix,.formatter}.exs", "{build,lib,test,bench}/**/*.{ex,exs}"],
  import_deps: []
]
