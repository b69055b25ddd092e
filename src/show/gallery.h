// The pictures of a page, each once however often it is shown: they stand in one hidden SVG, and every place that shows
// one refers to it.
#pragma once
#include <map>
#include <string>

#include "mmeb/data/pictures.h"

namespace vlm2vec {

class Gallery {
 public:
  // An element that shows the picture; a box that says so if it is missing or cannot be decoded.
  std::string show(const Pictures& pictures, const std::string& path);
  // Inside an SVG, fitted into a square.
  std::string show_in_svg(const Pictures& pictures, const std::string& path, double x, double y, double side);
  std::string definitions() const;  // for the page's end
  size_t size() const { return entries_.size(); }

 private:
  struct Entry {
    int number, width, height;
    std::string uri, fault;  // fault: why there is no picture, or empty
  };
  const Entry& find(const Pictures& pictures, const std::string& path);
  std::map<std::string, Entry> entries_;  // by the file's place
};

}  // namespace vlm2vec
