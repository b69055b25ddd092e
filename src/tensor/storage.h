// Bytes on a device, taken from a pool and returned to it.
#pragma once
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>

namespace vlm2vec {

// cpu: fast paths on host memory; emu: the CUDA kernels, run by the emulator on memory of its own; cuda: a GPU.
struct Device {
  enum Kind : uint8_t { cpu_kind, emu_kind, cuda_kind } kind = cpu_kind;
  static const Device cpu, emu, cuda;
  bool operator==(const Device&) const = default;
};
inline constexpr Device Device::cpu{Device::cpu_kind}, Device::emu{Device::emu_kind}, Device::cuda{Device::cuda_kind};

const char* name_of(Device device);
// "cpu", "emu", "cuda" or "auto": cuda if there is one, else cpu. Throws Exit::device if cuda cannot be used.
Device parse_device(const std::string& name);
void check_device_name(const std::string& name);  // throws Exit::usage for another name
const char* default_device();            // auto, or cpu if the program was built without CUDA
// Opens cuBLAS for a device that uses it. Where it is not, throws Exit::device if `required`, else does without.
void open_products(Device device, bool required);
std::string device_note(Device device);  // what a program with CUDA says of it as work begins; may be empty
std::string origin_of(Device device);    // its name and how it computes products, to store with results

struct Storage {
  void* data = nullptr;
  int64_t bytes = 0;
  Device device;
  bool dry = false;                   // address space without memory, made in a dry run
  std::shared_ptr<const void> owner;  // set if the bytes are not the pool's, e.g. a mapped file's

  Storage(int64_t bytes, Device device);                                        // uninitialised, from the pool
  Storage(const void* data, int64_t bytes, std::shared_ptr<const void> owner);  // borrowed host memory, read-only
  ~Storage();
  Storage(const Storage&) = delete;
  Storage& operator=(const Storage&) = delete;
};

// Copies between two places of any devices, and fills with zeros. In a dry run they do nothing.
void copy_memory(void* to, Device to_device, const void* from, Device from_device, int64_t bytes);
void clear_memory(void* memory, Device device, int64_t bytes);

// Runs `copies` beside the kernels of other threads, and waits until all is there. It may move tensors from the host to
// the device, but launch no kernel.
void copy_beside_kernels(Device device, const std::function<void()>& copies);

// The copies to and from a device since the program began. Those from a device wait for it.
struct Transfers {
  int64_t up = 0, down = 0;
};
Transfers transfers();

// Bytes over all devices: now, and the peak.
struct MemoryStatistics {
  int64_t live_bytes = 0, peak_bytes = 0;       // of live tensors
  int64_t held_bytes = 0, peak_held_bytes = 0;  // held from the system, in use or free for reuse; 0 in a dry run
};
MemoryStatistics memory_statistics();
void reset_peak_bytes();  // sets both peaks to the present values
int64_t bytes_of_thread();  // of the tensors that this thread has made, less those that it has freed

// Measures the memory of a computation by running its code (memory_statistics): while a DryRun exists, kernels do
// nothing and new tensors are address space that reads as zeros. Memory that the code writes itself is really taken.
// Must stay on one thread and must not be nested.
class DryRun {
 public:
  DryRun();
  ~DryRun();
  DryRun(const DryRun&) = delete;
  static bool on();
};

}  // namespace vlm2vec
