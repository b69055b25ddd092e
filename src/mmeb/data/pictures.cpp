#include "mmeb/data/pictures.h"

#include <algorithm>
#include <climits>
#include <mutex>
#include <unordered_map>

#include "io/archive.h"
#include "io/error.h"
#include "io/text.h"

namespace vlm2vec {
namespace {

namespace fs = std::filesystem;

constexpr size_t kShownName = 300;  // characters of a name in a message
constexpr const char* kBase64Digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/=\n";
const std::string kStoredFolder = "images/";  // begins the paths of MMEB's rows

// True for "a/b.zip" with ".zip"; names must be in lower case, as on the hub.
bool ends_with_any(const fs::path& file, const std::vector<std::string>& endings) {
  const std::string name = file.filename().string();
  return !is_junk(name) && std::any_of(endings.begin(), endings.end(), [&](auto& end) { return name.ends_with(end); });
}

// Returns the files with these endings in the hub's folders of archives, in order.
std::vector<fs::path> files_beside(const fs::path& image_dir, const std::vector<std::string>& endings) {
  if (fs::is_regular_file(image_dir)) return {image_dir};
  std::vector<fs::path> found;
  for (const char* folder : {"", "images_zip", "images"}) {
    const size_t begin = found.size();
    std::error_code none;
    for (const auto& entry : fs::directory_iterator(*folder ? image_dir / folder : image_dir, none))
      if (ends_with_any(entry.path(), endings) && entry.is_regular_file(none)) found.push_back(entry.path());
    std::sort(found.begin() + std::ptrdiff_t(begin), found.end());
  }
  return found;
}

// images_zip/OK-VQA.zip → "/OK-VQA/". For a path with this folder, this archive is opened first, mostly alone.
std::string folder_named_by(const fs::path& archive) { return "/" + archive.stem().string() + "/"; }

std::optional<std::string> member_for(const ArchiveFile& archive, const std::string& path) {
  const std::string inner = path.starts_with(kStoredFolder) ? path.substr(kStoredFolder.size()) : path;
  if (archive.contains(path)) return path;
  if (archive.contains(inner)) return inner;
  if (archive.top().empty()) return {};
  for (const std::string* name : {&path, &inner})
    if (const std::string below = archive.top() + "/" + *name; archive.contains(below)) return below;
  return {};
}

}  // namespace

struct Pictures::State {
  struct Candidate {
    fs::path path;
    std::string folder;                       // folder_named_by(path)
    std::shared_ptr<const ArchiveFile> file;  // once it is open
  };
  fs::path joined(const std::string& path) const { return image_dir == "." ? fs::path(path) : image_dir / path; }
  fs::path image_dir;
  std::mutex lock;
  bool listed = false;
  std::vector<Candidate> candidates;
  std::unordered_map<std::string, PictureSource> kept;  // by key
};

Pictures::Pictures(const fs::path& image_dir) : state_(std::make_shared<State>()) {
  state_->image_dir = image_dir.empty() ? "." : image_dir;
}

std::string Pictures::keep(const PictureSource& held) const {
  const PictureSource picture = held.by_content();
  std::lock_guard guard(state_->lock);
  state_->kept.emplace(picture.key(), picture);
  return picture.key();
}

std::optional<PictureSource> Pictures::find(const std::string& path) const {
  State& state = *state_;
  if (path.starts_with("sha256:")) {
    std::lock_guard guard(state.lock);
    if (const auto kept = state.kept.find(path); kept != state.kept.end()) return kept->second;
  }
  if (is_junk(path) || path.size() >= PATH_MAX) return {};
  const fs::path plain = state.joined(path);
  std::error_code unreadable;
  if (fs::is_regular_file(plain, unreadable)) return plain;
  const std::string name = fs::path(path).lexically_normal().generic_string(), rooted = "/" + name;
  std::lock_guard guard(state.lock);
  if (!state.listed)
    for (const fs::path& file : files_beside(state.image_dir, {".zip", ".tar"}))
      state.candidates.push_back({file, folder_named_by(file), {}});
  state.listed = true;
  for (const bool named : {true, false})
    for (State::Candidate& candidate : state.candidates) {
      if ((rooted.find(candidate.folder) != rooted.npos) != named) continue;
      if (!candidate.file) candidate.file = ArchiveFile::open(candidate.path);
      if (const auto member = member_for(*candidate.file, name)) return candidate.path / *member;
    }
  return is_file_or_member(plain) ? std::optional<PictureSource>(plain)
                                  : std::nullopt;  // image_dir may be a folder in an archive
}

PictureSource Pictures::locate(const std::string& path) const { return find(path).value_or(state_->joined(path)); }

std::string Pictures::likely_cause(const std::string& path) const {
  if (path.size() > 200 && path.find_first_not_of(kBase64Digits) == path.npos)
    return "the path looks like base64: write data:image/png;base64, before it";
  if (path.find("://") != path.npos) return "nothing is downloaded: fetch the picture and write the path of its file";
  if (path.find('\\') != path.npos) return "write / between folders, not \\";
  std::error_code none;  // a name may be too long for a file
  const fs::path normal = fs::absolute(state_->image_dir).lexically_normal();
  const fs::path folder = normal.has_filename() ? normal : normal.parent_path(), above = folder.parent_path();
  const std::string last = folder.filename().string();
  if (!fs::exists(folder)) return sentence("no such folder: ", folder.string(), "; give another one with --image_dir");
  const bool stored = path.starts_with(kStoredFolder);
  if (stored && (last == "images" || last == "image" || fs::exists(above / path, none)))
    return sentence("the rows' paths already begin with images/: use --image_dir ", above.string());
  if (stored && fs::exists(folder / path.substr(kStoredFolder.size()), none))
    return sentence("the picture is in ", last, " without the folder images/ of the rows' paths: move the content of ",
                    last, " to ", last, "/images");
  for (const fs::path& file :
       files_beside(folder, {".gz", ".tgz", ".bz2", ".tbz2", ".xz", ".txz", ".zst", ".lz4", ".7z", ".rar"}))
    if (const std::string how = how_to_unpack(file); !how.empty()) return sentence(file.string(), " exists but ", how);
  const std::vector<fs::path> archives = files_beside(folder, {".zip", ".tar"});
  for (const fs::path& file : archives)
    if (("/" + path).find(folder_named_by(file)) != std::string::npos || archives.size() == 1)
      return sentence(file.string(), " exists but has no such member; it may be incomplete or the wrong file");
  if (!archives.empty())
    return sentence("none of the ", archives.size(),
                    " archives there has such a member; one may still have to be downloaded");
  const std::string first = path.substr(0, path.find('/'));
  if (first != path && !fs::exists(folder / first, none))
    return sentence("no such folder: ", one_line((folder / first).string(), kShownName),
                    "; download the pictures, or give --image_dir, which is joined before the rows' paths");
  return "--image_dir is joined before the path";
}

bool PictureCheck::add(const std::string& path, size_t row, const std::string& set) {
  if (path.empty() || !seen_.insert(std::hash<std::string>()(path)).second) return false;
  if (pictures_.find(path)) return true;
  ++missing_;
  const std::string where = sentence("row ", row + 1, " of ", set);
  if (missing_ == 1) first_ = path, where_ = where;
  else if (next_.size() < 4) next_.push_back(one_line(path, kShownName) + " (" + where + ")");
  return false;
}

std::string PictureCheck::summary() const {
  if (missing_ == 0) return "";
  std::string text = sentence(one_line(pictures_.locate(first_).name(), kShownName), ": no such file; ", where_,
                              " names this picture");
  if (missing_ > 1) text += sentence("; ", missing_, " are missing, next ", joined(next_));
  if (missing_ > 5) text += ", ...";
  return text + " (" + pictures_.likely_cause(first_) + ")";
}

void PictureCheck::require_all() const {
  if (missing_ > 0) fail(Exit::data, summary());
}

}  // namespace vlm2vec
