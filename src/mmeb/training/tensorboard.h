// Writes TensorBoard's event files: events.out.tfevents.<seconds>.<host>.<process>.0, a sequence of records
//   u64 length, u32 masked CRC of the length, the bytes, u32 masked CRC of the bytes      (all little-endian)
// The bytes are protocol buffers: Event {1: wall_time double, 2: step int64, 3: file_version string, 5: Summary,
// 7: SessionLog}, Summary {1: Value, repeated}, Value {1: tag string, 2: simple_value float}, SessionLog {1: status}.
// The first event says "brain.Event:2". The second, a session's START, voids later steps in other files of the folder.
#pragma once
#include <filesystem>
#include <fstream>
#include <string>
#include <utility>
#include <vector>

namespace vlm2vec {

using Scalars = std::vector<std::pair<std::string, double>>;  // tag, value

uint32_t crc32c(std::string_view bytes);  // Castagnoli's polynomial
std::string tensorboard_record(std::string_view bytes);
std::string tensorboard_event(double wall_time, int64_t step, const Scalars& scalars);

class TensorBoard {
 public:
  TensorBoard(const std::filesystem::path& folder, int64_t first_step);  // starts a new file at this step
  void add(int64_t step, const Scalars& scalars);                        // Exit::resources if it cannot be written

 private:
  void write(const std::string& event);
  std::filesystem::path file_;
  std::ofstream stream_;
};

}  // namespace vlm2vec
