#include "io/current_error.h"

#include <filesystem>
#include <new>

namespace vlm2vec {

Error current_error() {
  try {
    throw;
  } catch (const OutOfMemory& e) {
    return {e.code, std::string(e.what()) + "; lower --resize_max_pixels or the batch size"};
  } catch (const Error& e) {
    return e;
  } catch (const std::bad_alloc&) {
    return {Exit::resources, "out of memory; lower --resize_max_pixels or the batch size"};
  } catch (const std::filesystem::filesystem_error& e) {
    return {Exit::resources, e.path1().string() + ": " + e.code().message()};
  } catch (const std::exception& e) {
    return {Exit::failed, e.what()};
  }
}

}  // namespace vlm2vec
