#include "show/selftest.h"

#include <algorithm>
#include <iostream>
#include <nlohmann/json.hpp>

#include "cli/commands.h"
#include "tensor/stopwatch.h"

namespace vlm2vec {

Exit run_selftest(const Command& command, const Arguments& arguments) {
  Device device;
  uint64_t seed = 1;
  bool quiet = false, json = false;
  CommandLine line(command.name, command.purpose, "selftest --device emu");
  line("seed", seed, "random seed of the test data");
  line.threads().device(device).quiet(quiet).json(json);
  if (!line.parse(arguments)) return Exit::ok;

  line.say(device_note(device));
  Stopwatch watch;
  const std::vector<Check> checks = selftest(device, seed);
  const auto missed = std::count_if(checks.begin(), checks.end(), [](const Check& c) { return !c.ok(); });
  if (!quiet) std::cerr << checks.size() << " checks in " << watch.lap() << " s, " << missed << " failed\n";
  if (json) {
    nlohmann::ordered_json list = nlohmann::ordered_json::array();
    for (const Check& c : checks)
      list.push_back({{"check", c.name}, {"measured", c.measured}, {"limit", c.limit}, {"ok", c.ok()}});
    std::cout << nlohmann::ordered_json{{"device", origin_of(device)}, {"checks", list}} << '\n';
  } else if (!quiet) {
    std::cout << check_table(checks);
  }
  return missed == 0 ? Exit::ok : Exit::failed;
}

}  // namespace vlm2vec
