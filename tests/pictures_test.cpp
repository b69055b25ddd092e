// Every layout of the hub is read in place as it is unpacked; what is missing is said with its likely cause.
#include "mmeb/data/pictures.h"

#include <gtest/gtest.h>

#include "archive_writer.h"
#include "expect_error.h"
#include "temporary_folder.h"
#include "vlm/image/image.h"

namespace vlm2vec {
namespace {

namespace fs = std::filesystem;

// Two pictures as files of MMEB-train: their paths in rows begin with images/.
class Layouts : public testing::Test {
 protected:
  Layouts() {
    for (int i = 0; i < 2; ++i) {
      Image image(9 + i, 7, 3);
      for (size_t p = 0; p < image.pixels.size(); ++p) image.pixels[p] = uint8_t(p * size_t(3 + i));
      fs::create_directories((folder_ / "unpacked" / paths_[i]).parent_path());
      write_png(folder_ / "unpacked" / paths_[i], image);
      contents_.push_back(read_text(folder_ / "unpacked" / paths_[i]));
    }
  }
  // Names of the members: `before` in the place of the path's leading images/.
  Members members(const std::string& before) const {
    Members list;
    for (size_t i = 0; i < 2; ++i) list.push_back({before + paths_[i].substr(7), contents_[i]});
    return list;
  }
  void equal_unpacked(const fs::path& image_dir) const {
    const Pictures pictures(image_dir), unpacked(folder_ / "unpacked");
    for (const std::string& path : paths_) {
      const auto found = pictures.find(path);
      ASSERT_TRUE(found) << image_dir << " " << path << ": " << pictures.likely_cause(path);
      EXPECT_EQ(read_rgb(*found), read_rgb(*unpacked.find(path)));
    }
    EXPECT_FALSE(pictures.find("images/OK-VQA/Train/none.png"));
  }
  const TemporaryFolder folder_{"layouts"};
  const std::vector<std::string> paths_ = {"images/OK-VQA/Train/hot dog.png", "images/MSCOCO/Train/2.png"};
  std::vector<std::string> contents_;
};

TEST_F(Layouts, OfTheHubAreReadInPlace) {
  equal_unpacked(folder_ / "unpacked");
  const Members both = members("");  // OK-VQA/Train/hot dog.png, MSCOCO/Train/2.png
  write_zip(folder_ / "train/images_zip/OK-VQA.zip", {both[0]});
  write_zip(folder_ / "train/images_zip/MSCOCO.zip", {both[1]});
  equal_unpacked(folder_ / "train");
  write_zip(folder_ / "with/images_zip/OK-VQA.zip", {members("images/")[0]});  // packed with images/ in the names
  write_zip(folder_ / "with/images/part2.zip", {members("images/")[1]});
  equal_unpacked(folder_ / "with");
  write_zip(folder_ / "eval/images.zip", members("images/"));
  equal_unpacked(folder_ / "eval");
  equal_unpacked(folder_ / "eval/images.zip");
  write_tar(folder_ / "v2/mmeb_v1.tar", tar_of(members("MMEB/images/")));
  equal_unpacked(folder_ / "v2");
  equal_unpacked(folder_ / "v2/mmeb_v1.tar/MMEB");  // a folder in an archive
  write_tar(folder_ / "v2b/mmeb_v1.tar", tar_of(members("MMEB/")));
  equal_unpacked(folder_ / "v2b");
}

TEST_F(Layouts, TheFolderGoesBeforeArchivesAndJunkIsNoPicture) {
  fs::copy(folder_ / "unpacked", folder_ / "mixed", fs::copy_options::recursive);
  write_zip(folder_ / "mixed/images_zip/OK-VQA.zip", {{members("")[0].first, "another"}});
  equal_unpacked(folder_ / "mixed");
  write_text(folder_ / "mixed/images/OK-VQA/Train/._hot dog.png", "junk");
  EXPECT_FALSE(Pictures(folder_ / "mixed").find("images/OK-VQA/Train/._hot dog.png"));
  write_text(folder_ / "mixed/images_zip/._MSCOCO.zip", "junk");  // no archive
  EXPECT_FALSE(Pictures(folder_ / "mixed").find("images/MSCOCO/Train/none.png"));
}

TEST_F(Layouts, AnArchiveIsOpenedOnlyWhenNeeded) {
  write_zip(folder_ / "train/images_zip/OK-VQA.zip", {members("")[0]});
  write_text(folder_ / "train/images_zip/MSCOCO.zip", "damaged");
  const Pictures pictures(folder_ / "train");
  EXPECT_TRUE(pictures.find(paths_[0]));
  expect_error(Exit::data, "MSCOCO.zip: is not a zip file", [&] { pictures.find(paths_[1]); });
}

TEST_F(Layouts, WhatIsMissingIsSaidWithItsCause) {
  const auto cause = [&](const fs::path& image_dir) { return Pictures(image_dir).likely_cause("images/A/none.png"); };
  const auto expect = [&](const std::string& part, const fs::path& image_dir) {
    EXPECT_NE(cause(image_dir).find(part), std::string::npos) << cause(image_dir);
  };
  expect("already begin with images/: use --image_dir " + (folder_ / "unpacked").string(),
         folder_ / "unpacked/images/");
  expect("no such folder", folder_ / "nowhere");
  fs::create_directories(folder_ / "no");
  expect("no such folder: " + (folder_ / "no/images").string(), folder_ / "no");
  write_zip(folder_ / "train/images_zip/A.zip", members(""));
  write_zip(folder_ / "train/images_zip/B.zip", members(""));
  expect("A.zip exists but has no such member", folder_ / "train");
  std::filesystem::create_directories(folder_ / "v2");
  write_text(folder_ / "v2/mmeb_v1.tar.gz", "\x1F\x8B\x08");
  expect("mmeb_v1.tar.gz exists but is compressed as a whole (gzip): gunzip it", folder_ / "v2");
  std::filesystem::create_directories(folder_ / "v3");
  write_text(folder_ / "v3/pictures.7z", "7z\xBC\xAF\x27\x1C");
  expect("pictures.7z exists but is a 7z archive, which is not read: unpack it", folder_ / "v3");
  expect_error(Exit::data, "pictures.7z: is a 7z archive", [&] { Pictures(folder_ / "v3/pictures.7z").find("a.png"); });
  fs::create_directories(folder_ / "flat/A");
  write_text(folder_ / "flat/A/none.png", "");
  expect("without the folder images/", folder_ / "flat");
  expect("--image_dir is joined before the path", folder_ / "unpacked");
}

TEST_F(Layouts, ACheckCountsEachMissingPictureOnce) {
  PictureCheck check(folder_ / "unpacked");
  EXPECT_TRUE(check.add(paths_[0], 0, "OK-VQA"));
  EXPECT_FALSE(check.add(paths_[0], 1, "OK-VQA"));  // seen
  EXPECT_FALSE(check.add("", 1, "OK-VQA"));
  EXPECT_NO_THROW(check.require_all());
  for (size_t row = 0; row < 14; ++row) check.add("images/" + std::to_string(row % 7) + ".png", row, "OK-VQA");
  EXPECT_EQ(check.distinct(), 8);
  EXPECT_EQ(check.missing(), 7);
  expect_error(Exit::data, "images/0.png: no such file; row 1 of OK-VQA names this picture; 7 are missing, next ",
               [&] { check.require_all(); });
  expect_error("images/4.png (row 5 of OK-VQA), ... (", [&] { check.require_all(); });
}

}  // namespace
}  // namespace vlm2vec
