#include "io/hub.h"

#include <algorithm>
#include <cctype>
#include <fstream>
#include <string_view>
#include <vector>

#include "io/error.h"

namespace vlm2vec {
namespace {

namespace fs = std::filesystem;

// "owner/name" of a hub's name or address; empty for what looks like a path.
std::string repository_of(std::string name) {
  if (name.ends_with('/')) name.pop_back();
  for (const char* front : {"https://huggingface.co/datasets/", "https://huggingface.co/", "https://hf.co/datasets/",
                            "https://hf.co/", "hf://datasets/", "hf://"})
    if (name.starts_with(front)) {
      name.erase(0, std::string_view(front).size());
      name = name.substr(0, name.find('/', name.find('/') + 1));  // …/tree/main
    }
  name = name.substr(0, name.find('@'));  // a revision
  const size_t slash = name.find('/');
  const auto fits = [](char c) { return std::isalnum(uint8_t(c)) || c == '-' || c == '_' || c == '.'; };
  if (slash == name.npos || slash == 0 || slash + 1 == name.size() || name[0] == '.' || name[slash + 1] == '.')
    return "";
  if (std::count(name.begin(), name.end(), '/') != 1) return "";
  if (!std::ranges::all_of(name, [&](char c) { return c == '/' || fits(c); })) return "";
  std::error_code too_long;
  return fs::exists(name.substr(0, slash), too_long) ? "" : name;  // a folder here: the rest of a path is wrong
}

bool has_files(const fs::path& folder) {
  std::error_code unreadable;
  for (const auto& entry : fs::directory_iterator(folder, unreadable))
    if (const std::string name = entry.path().filename();
        !fs::is_directory(entry, unreadable) && name != "version.txt" && name != "CACHEDIR.TAG")
      return true;
  return false;
}

std::vector<fs::path> folders_in(const fs::path& folder) {
  std::vector<fs::path> all;
  std::error_code unreadable;
  for (const auto& entry : fs::directory_iterator(folder, unreadable))
    if (entry.is_directory(unreadable)) all.push_back(entry.path());
  std::ranges::sort(all);
  return all;
}

// Returns the snapshot in a folder of the hub's cache: that of refs/main, else the first. Empty: not such a folder.
fs::path snapshot_in(const fs::path& folder) {
  const bool is_list = folder.filename() == "snapshots" && fs::exists(folder.parent_path() / "blobs");
  const fs::path repository = is_list ? folder.parent_path() : folder;
  const bool is_cache = fs::exists(repository / "blobs") || fs::exists(repository / "refs");
  if (!is_cache || !fs::is_directory(repository / "snapshots")) {
    if (has_files(folder)) return {};  // a folder of the user's, with a cache in it
    for (const fs::path& below : folders_in(folder))
      if (below.filename().string().starts_with("models--") || below.filename().string().starts_with("datasets--"))
        if (const fs::path snapshot = snapshot_in(below); !snapshot.empty()) return snapshot;
    return {};
  }
  std::string commit;
  std::getline(std::ifstream(repository / "refs" / "main"), commit);
  const std::vector<fs::path> all = folders_in(repository / "snapshots");
  const auto main = std::ranges::find(all, commit, [](const fs::path& p) { return p.filename().string(); });
  return main != all.end() ? *main : all.empty() ? fs::path() : all[0];
}

// Returns the first unfinished download; in the cache those of a snapshot lie beside the blobs.
fs::path unfinished_in(const fs::path& folder) {
  for (const fs::path& place : {folder, folder / ".cache/huggingface/download", folder / "../../blobs"}) {
    if (place.filename() == "blobs" && fs::absolute(folder / "").parent_path().parent_path().filename() != "snapshots")
      continue;
    std::error_code unreadable;
    for (const auto& entry : fs::directory_iterator(place, unreadable))
      if (const std::string kind = entry.path().extension();
          kind == ".incomplete" || kind == ".part" || kind == ".aria2")
        return entry.path();
  }
  return {};
}

}  // namespace

void require_folder(const fs::path& path, const std::string& expected, HubKind kind) {
  std::error_code error;
  if (fs::is_directory(path, error)) {
    if (const fs::path snapshot = snapshot_in(fs::absolute(path / "").parent_path()); !snapshot.empty())
      fail(Exit::data, path.string(), ": is the hub's cache, not ", expected,
           "; name the snapshot in it: ", snapshot.string());
    return;
  }
  if (fs::exists(path, error)) {
    const bool is_data = kind == HubKind::dataset;
    const bool is_rows = is_data && (path.extension() == ".jsonl" || path.extension() == ".parquet");
    const fs::path parent = fs::absolute(path).parent_path();
    fail(Exit::data, path.string(), ": is a file; expected ", is_data ? "" : "a folder with ", expected, ", such as ",
         (is_rows ? parent.parent_path() : parent).string());
  }
  if (const std::string hint = hub_hint(path, kind); !hint.empty())
    fail(Exit::data, path.string(), ": no such folder, ", hint);
  fail(Exit::data, path.string(), ": no such folder; expected ", expected,
       path.string().starts_with("~/") ? "; the shell reads ~ only at the beginning of a word: write $HOME" : "");
}

std::string hub_hint(const std::string& name, HubKind kind) {
  const std::string repository = repository_of(name), folder = repository.substr(repository.find('/') + 1);
  if (repository.empty()) return "";
  return "and nothing is ever downloaded; if it is a name of the hub, huggingface-cli download " + repository +
         (kind == HubKind::dataset ? " --repo-type dataset" : "") + " --local-dir " + folder +
         " (or hf download …) fetches it; then use " + folder;
}

std::string download_hint(const fs::path& folder, const std::string& missing) {
  if (!missing.empty() && fs::is_symlink(folder / missing))
    return "; " + missing + " is a link to a file that is not there: the download has not finished";
  const fs::path unfinished = unfinished_in(folder);
  return unfinished.empty() ? "" : "; " + unfinished.filename().string() + " is there: the download has not finished";
}

void refuse_lfs_pointer(std::span<const uint8_t> bytes, const std::string& name) {
  constexpr size_t longest = 1024;  // pointers end here, by git-lfs' specification
  const std::string_view text(reinterpret_cast<const char*>(bytes.data()), std::min(bytes.size(), longest + 1));
  const auto begins = [&](const char* host) {  // the second is git-lfs' old name
    return text.starts_with(std::string("version https://") + host + "/spec/");
  };
  if (text.size() <= longest && (begins("git-lfs.github.com") || begins("hawser.github.com")))
    fail(Exit::data, name,
         ": is a git-lfs pointer, not the file itself; in its repository, git lfs pull gets the file");
}

void refuse_web_page(std::span<const uint8_t> bytes, const std::string& name) {
  std::string text(bytes.begin(), bytes.begin() + std::min<ptrdiff_t>(std::ssize(bytes), 32));
  text.erase(0, text.find_first_not_of(" \t\r\n"));
  std::ranges::transform(text, text.begin(), [](char c) { return char(std::tolower(uint8_t(c))); });
  if (text.starts_with("<!doctype html") || text.starts_with("<html") || text == "entry not found")
    fail(Exit::data, name, ": is a web page, not the file itself; download the file again");
}

}  // namespace vlm2vec
