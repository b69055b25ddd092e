#include "mini/sources.h"

#include "io/error.h"
#include "io/files.h"

namespace vlm2vec::mini {

std::string read_source(const std::filesystem::path& path, const std::string& package) {
  std::error_code ignored;
  if (!std::filesystem::is_regular_file(path, ignored))
    fail(Exit::data, path.string(), ": no such file; the miniature MMEB needs the Debian package ", package,
         ": apt-get install ", package);
  return read_text(path);
}

}  // namespace vlm2vec::mini
