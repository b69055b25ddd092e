// Stores each picture of a page once, in one hidden SVG, and refers to it wherever it is shown.
#pragma once
#include <map>
#include <string>

#include "mmeb/data/pictures.h"

namespace vlm2vec {

class Gallery {
 public:
  // Returns an element that shows the picture, or a box if it is missing or cannot be decoded.
  std::string show(const Pictures& pictures, const std::string& path);
  // Returns an element for use inside an SVG; the picture fits into a square.
  std::string show_in_svg(const Pictures& pictures, const std::string& path, double x, double y, double side);
  std::string definitions() const;  // must be written at the page's end
  size_t size() const { return entries_.size(); }

 private:
  struct Entry {
    int number, width, height;
    std::string uri, fault;  // fault: why the picture is missing, or empty
  };
  const Entry& find(const Pictures& pictures, const std::string& path);
  std::map<std::string, Entry> entries_;  // by path
};

}  // namespace vlm2vec
