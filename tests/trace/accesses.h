// Counts what the accesses of warps cost. Lanes that come to one instruction together make one request. Between two
// meetings of a warp its lanes may take different ways: as on a GPU, those that are behind in the code run first, and
// others wait for them where the ways join.
//
// Global memory moves in sectors of 32 bytes. Ideal are as few as the bytes of a request would fill. Shared memory has
// 32 banks of 4 bytes; a wavefront takes one word from each. Half a warp shares a wavefront if each lane wants 8 bytes,
// a quarter if 16. Ideal is one wavefront for each of these groups; more are bank conflicts.
#pragma once
#include <vector>

#include "places.h"

namespace vlm2vec::trace {

enum class Kind { global_read, global_write, shared_read, shared_write };
const char* name_of(Kind kind);
inline bool is_shared(Kind kind) { return kind >= Kind::shared_read; }

struct Cost {
  uint64_t requests = 0, bytes = 0;
  uint64_t units = 0, ideal = 0;  // sectors or wavefronts
  Cost& operator+=(const Cost& other);
};

class Accesses {
 public:
  void begin_block(size_t threads);
  // `order`: of the instruction in the code.
  void add(Place place, uintptr_t order, Kind kind, unsigned thread, uintptr_t memory, size_t bytes);
  void meet(unsigned warp);  // its lanes have come together: counts what they did until now
  void meet_all();
  void clear() { costs_.clear(); }
  std::map<std::pair<Place, Kind>, Cost> costs() const;

 private:
  struct Access {
    uintptr_t order;
    Place place;
    Kind kind;
    uintptr_t memory;
    size_t bytes;
    bool is_behind(const Access& other) const;
    bool of_one_instruction(const Access& other) const { return place == other.place && kind == other.kind; }
  };
  using Request = std::vector<std::pair<unsigned, const Access*>>;  // lanes, in order
  static void add_sectors(const Request& request, Cost& cost);
  static void add_wavefronts(const Request& request, Cost& cost);

  std::vector<std::vector<Access>> of_thread_;  // since its warp met
  std::vector<Cost> costs_;                     // 4 · place + kind
};

}  // namespace vlm2vec::trace
