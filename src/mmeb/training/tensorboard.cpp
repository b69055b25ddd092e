#include "mmeb/training/tensorboard.h"

#include <unistd.h>

#include <bit>
#include <chrono>

#include "io/error.h"

namespace vlm2vec {
namespace {

std::string little_endian(uint64_t value, int bytes) {
  std::string text;
  for (int i = 0; i < bytes; ++i) text += char(value >> (8 * i) & 0xFF);
  return text;
}

// Protocol buffers: seven bits per byte, the lowest first; the eighth bit says that more follow.
std::string varint(uint64_t value) {
  std::string text;
  for (; value >= 0x80; value >>= 7) text += char(value | 0x80);
  return text + char(value);
}

// A field's key is 8·number + wire type: 0 varint, 1 eight bytes, 2 length and bytes, 5 four bytes.
std::string bytes_field(int number, const std::string& bytes) {
  return char(8 * number + 2) + varint(bytes.size()) + bytes;
}
std::string float_field(int number, double value) {
  return char(8 * number + 5) + little_endian(std::bit_cast<uint32_t>(float(value)), 4);
}
std::string time_field(double seconds) { return char(8 * 1 + 1) + little_endian(std::bit_cast<uint64_t>(seconds), 8); }

std::string step_field(int64_t step) { return char(8 * 2) + varint(uint64_t(step)); }

double seconds_since_1970() {
  return std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count();
}

std::string masked_crc(std::string_view bytes) {  // masked, since a CRC of data with CRCs would be weak
  const uint32_t crc = crc32c(bytes);
  return little_endian((crc >> 15 | crc << 17) + 0xA282EAD8u, 4);
}

}  // namespace

uint32_t crc32c(std::string_view bytes) {
  uint32_t crc = ~0u;
  for (const unsigned char byte : bytes) {
    crc ^= byte;
    for (int bit = 0; bit < 8; ++bit) crc = crc >> 1 ^ (crc & 1 ? 0x82F63B78u : 0);
  }
  return ~crc;
}

std::string tensorboard_record(std::string_view bytes) {
  const std::string length = little_endian(bytes.size(), 8);
  return length + masked_crc(length) + std::string(bytes) + masked_crc(bytes);
}

std::string tensorboard_event(double wall_time, int64_t step, const Scalars& scalars) {
  std::string summary;
  for (const auto& [tag, value] : scalars) summary += bytes_field(1, bytes_field(1, tag) + float_field(2, value));
  return time_field(wall_time) + step_field(step) + bytes_field(5, summary);
}

TensorBoard::TensorBoard(const std::filesystem::path& folder, int64_t first_step) {
  std::error_code error;
  std::filesystem::create_directories(folder, error);
  if (error) fail(Exit::resources, folder.string(), ": ", error.message());
  char host[256] = "localhost";
  gethostname(host, sizeof host - 1);
  file_ = folder / sentence("events.out.tfevents.", int64_t(seconds_since_1970()), ".", host, ".", getpid(), ".0");
  stream_.open(file_, std::ios::binary | std::ios::app);
  write(time_field(seconds_since_1970()) + bytes_field(3, "brain.Event:2"));
  constexpr uint64_t kStart = 1;
  write(time_field(seconds_since_1970()) + step_field(first_step) + bytes_field(7, char(8 * 1) + varint(kStart)));
}

void TensorBoard::add(int64_t step, const Scalars& scalars) {
  write(tensorboard_event(seconds_since_1970(), step, scalars));
}

void TensorBoard::write(const std::string& event) {
  stream_ << tensorboard_record(event) << std::flush;
  if (!stream_) fail(Exit::resources, file_.string(), ": writing failed; is the disk full?");
}

}  // namespace vlm2vec
