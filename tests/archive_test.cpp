// Members of zip and tar files: what is read, what is left out, what is refused in one sentence.
#include "io/archive.h"

#include <gtest/gtest.h>

#include "archive_writer.h"
#include "damage.h"
#include "expect_error.h"
#include "temporary_folder.h"

namespace vlm2vec {
namespace {

constexpr uint64_t kMost = 1 << 20;

std::string read(const ArchiveFile& archive, const std::string& member, uint64_t most = kMost) {
  const FileBytes file = archive.read(member, most);
  return {file.bytes.begin(), file.bytes.end()};
}

// Texts of several lengths, one that hardly compresses, one of more than a block of 64 KiB.
Members some_members() {
  Random random(1);
  std::string noise(5000, '\0'), large;
  for (char& c : noise) c = char(random.below(256));
  for (int i = 0; i < 20000; ++i) large += std::to_string(i * i) + " ";
  return {{"A/one.txt", "one"}, {"A/hot dog.txt", noise}, {"B/empty", ""}, {"B/large", large}};
}

class Archives : public testing::Test {
 protected:
  const TemporaryFolder folder_{"archive"};
};

TEST_F(Archives, MembersOfEveryKindAreRead) {
  const Members members = some_members();
  write_zip(folder_ / "deflated.zip", members);
  write_zip(folder_ / "stored.zip", members, ZIP_CM_STORE);
  write_tar(folder_ / "plain.tar", tar_of(members));
  for (const char* file : {"deflated.zip", "stored.zip", "plain.tar"}) {
    const ArchiveFile archive(folder_ / file);
    EXPECT_EQ(archive.members(), members.size()) << file;
    EXPECT_EQ(archive.top(), "");
    for (const auto& [name, content] : members) EXPECT_EQ(read(archive, name), content) << file << " " << name;
    expect_error(Exit::data, "has no member A/two.txt", [&] { read(archive, "A/two.txt"); });
    expect_error(Exit::data, "at most 100 are read", [&] { read(archive, "B/large", 100); });
    const auto path = folder_ / file / "A/hot dog.txt";
    EXPECT_TRUE(is_file_or_member(path));
    EXPECT_FALSE(is_file_or_member(folder_ / file / "A/hot"));
    EXPECT_EQ(read_file_or_member(path, kMost).bytes.size(), 5000u);
  }
  EXPECT_TRUE(is_file_or_member(folder_ / "plain.tar"));
}

// What unpacking tools and macOS leave is no member; "./" before names is how `tar c .` writes them.
TEST_F(Archives, JunkIsNoMember) {
  const Members members = {{"T/._x.jpg", "junk"}, {"__MACOSX/T/x.jpg", "junk"}, {"./T/x.jpg", "x"}, {"T/y", "y"}};
  write_zip(folder_ / "a.zip", members);
  write_tar(folder_ / "a.tar", tar_of(members));
  for (const char* file : {"a.zip", "a.tar"}) {
    const ArchiveFile archive(folder_ / file);
    EXPECT_EQ(archive.members(), 2u) << file;
    EXPECT_EQ(archive.top(), "T") << file;
    EXPECT_EQ(read(archive, "T/x.jpg"), "x");
  }
}

TEST_F(Archives, TarExtensionsAreRead) {
  const std::string name = std::string(150, 'n') + ".jpg", path = "p/" + name;
  const auto record = [](const std::string& text) {  // " key=value\n" with its length, which counts its own digits
    size_t length = text.size() + 1;
    while (std::to_string(length).size() + text.size() != length) ++length;
    return std::to_string(length) + text;
  };
  std::string bytes = tar_member("././@LongLink", name + '\0', 'L') + tar_member(name, "gnu");
  bytes += tar_member("x", record(" path=" + path + "\n") + record(" size=3\n"), 'x') +
           tar_member("cut", "pax", '0', "", 0);  // ustar's size field says 0; the record counts
  bytes +=
      tar_member("g", record(" comment=c\n"), 'g') + tar_member("folder/", "", '5') + tar_member("l", "", '2', "x");
  bytes += tar_member("again", "first") + tar_member("hard", "", '1', "again") + tar_member("again", "second");
  std::string binary = tar_member("binary", "four");
  binary.replace(124, 12, std::string("\x80") + std::string(10, '\0') + '\x04');
  unsigned sum = 8 * ' ';
  for (size_t i = 0; i < 512; ++i) sum += i < 148 || i >= 156 ? static_cast<unsigned char>(binary[i]) : 0;
  char digits[8];
  std::snprintf(digits, sizeof digits, "%06o", sum);
  bytes += binary.replace(148, 6, digits);
  write_tar(folder_ / "x.tar", bytes + std::string(512, '\0'));
  const ArchiveFile archive(folder_ / "x.tar");
  EXPECT_EQ(archive.members(), 5u);
  EXPECT_EQ(read(archive, name), "gnu");
  EXPECT_EQ(read(archive, path), "pax");
  EXPECT_EQ(read(archive, "hard"), "first");
  EXPECT_EQ(read(archive, "again"), "second");
  EXPECT_EQ(read(archive, "binary"), "four");
}

// A tar begins with its first member's name, which may look like another kind of file.
TEST_F(Archives, ATarWhoseFirstNameLooksCompressedIsRead) {
  for (const std::string name : {"BZhang/p.png", "Rar!\x1A\x07"}) {
    write_tar(folder_ / "names.tar", tar_member(name, "text") + std::string(1024, '\0'));
    EXPECT_EQ(read(ArchiveFile(folder_ / "names.tar"), name), "text");
  }
}

TEST_F(Archives, WhatCannotBeReadIsSaid) {
  const Members one = {{"a", "some text, some text"}};
  const auto refused = [&](const char* file, const std::string& part) {
    expect_error(Exit::data, part, [&] { read(ArchiveFile(folder_ / file), "a"); });
  };
  write_zip(folder_ / "secret.zip", one, ZIP_CM_STORE, "password");
  refused("secret.zip", "secret.zip/a: is encrypted; unpack");
  write_zip(folder_ / "strange.zip", one, ZIP_CM_STORE);
  std::string bytes = read_text(folder_ / "strange.zip");
  bytes[bytes.find("PK\x01\x02") + 10] = 97, bytes[8] = 97;
  write_text(folder_ / "strange.zip", bytes);
  refused("strange.zip", "is compressed by method 97, which libzip does not read");
  const std::pair<std::string, const char*> others[] = {
      {"\x1F\x8B rest", "is compressed as a whole (gzip): gunzip it to a .tar file, or unpack it"},
      {"BZh91AY", "(bzip2): bunzip2 it"},
      {std::string("\xFD"
                   "7zXZ\0\0",
                   7),
       "(xz): unxz it"},
      {"\x28\xB5\x2F\xFD", "(zstd): unzstd it"},
      {"7z\xBC\xAF\x27\x1C", "is a 7z archive, which is not read: unpack it, or make a zip or tar file of it"},
      {"Rar!\x1A\x07\x01", "is a RAR archive"},
  };
  for (const auto& [bytes, part] : others)
    for (const char* name : {"packed.tar", "packed.zip", "packed.tar.bz2"}) {
      write_text(folder_ / name, bytes);
      refused(name, part);
    }
  write_text(folder_ / "text.zip", "hello");
  refused("text.zip", "is not a zip file");
  write_tar(folder_ / "cut.tar", tar_member("a", "text"));
  refused("cut.tar", "ends without the empty block");
  write_tar(folder_ / "claims.tar", tar_member("a", "text", '0', "", 1000000) + std::string(512, '\0'));
  refused("claims.tar", "a size beyond the end");
  write_tar(folder_ / "sparse.tar", tar_member("a", "", 'S') + std::string(512, '\0'));
  refused("sparse.tar", "the sparse file a");
}

// The claim is believed before memory is taken neither when it is too large nor when it is too small.
TEST_F(Archives, AClaimOfTheWrongSizeIsRefused) {
  const std::string text(3000, 'a');
  write_zip(folder_ / "a.zip", {{"a", text}});
  const std::string whole = read_text(folder_ / "a.zip");
  const size_t directory = whole.find("PK\x01\x02");
  for (const uint32_t claim : {100u, 2999u, 3001u, 900000u}) {
    std::string bytes = whole;
    for (size_t at : {size_t(22), directory + 24}) std::memcpy(&bytes[at], &claim, 4);
    write_text(folder_ / "b.zip", bytes);
    const ArchiveFile archive(folder_ / "b.zip");
    reset_peak_allocated();
    expect_error(Exit::data, "the archive is damaged", [&] { read(archive, "a"); });
    if (allocations_are_counted) {
      EXPECT_LT(peak_allocated(), 300 << 10) << claim;
    }
  }
}

TEST_F(Archives, AChangedFileIsOpenedAgain) {
  write_tar(folder_ / "a.tar", tar_of({{"x", "old"}}));
  const auto first = ArchiveFile::open(folder_ / "a.tar");
  EXPECT_EQ(first, ArchiveFile::open(folder_ / "a.tar"));
  write_tar(folder_ / "a.tar", tar_of({{"x", "new"}, {"y", ""}}));
  EXPECT_EQ(read(*ArchiveFile::open(folder_ / "a.tar"), "x"), "new");
}

TEST_F(Archives, DamageIsReadOrRefused) {
  const Members members = some_members();
  const auto read_all = [&](const std::filesystem::path& path, const std::string& bytes) {
    write_text(path, bytes, Sync::later);
    const ArchiveFile archive(path);
    int there = 0;
    std::string refused;
    for (const auto& [name, content] : members) try {
        if (!archive.contains(name)) continue;
        ++there;
        archive.read(name, kMost);
      } catch (const Error& e) {
        refused = e.what();
      }
    if (!refused.empty()) fail(Exit::data, refused);
    EXPECT_LE(there, int(members.size()));
  };
  write_zip(folder_ / "whole.zip", members);
  const Damage zip = damage(read_text(folder_ / "whole.zip"), 11,
                            [&](const std::string& bytes) { read_all(folder_ / "a.zip", bytes); });
  EXPECT_GE(zip.refused, 200);  // a CRC covers nearly every byte
  // What describes: the directory at the end, which is a small part of all bytes.
  const std::string whole = read_text(folder_ / "whole.zip");
  const size_t directory = whole.find("PK\x01\x02");
  const Damage ends = damage(whole.substr(directory), 12, [&](const std::string& bytes) {
    read_all(folder_ / "a.zip", whole.substr(0, directory) + bytes);
  });
  EXPECT_GT(ends.refused, 100);
  EXPECT_GT(ends.read, 0);  // dates and attributes
  const Members few = {{"A/one.txt", "one"}, {"A/hot dog.txt", "dog"}};
  const std::string tar = tar_member("././@LongLink", std::string(120, 'n'), 'L') + tar_of(few);
  const Damage headers = damage(tar, 13, [&](const std::string& bytes) { read_all(folder_ / "a.tar", bytes); });
  EXPECT_GT(headers.refused, 80);
  EXPECT_GT(headers.read, 0);  // bytes of members, which have no CRC
}

}  // namespace
}  // namespace vlm2vec
