// Options of data check, stats and preview about their folders.
#pragma once
#include <iostream>

#include "cli/command_line.h"
#include "mmeb/data/data_folder.h"

namespace vlm2vec {

inline void declare(CommandLine& line, DataFolderOptions& o, bool with_pictures = true) {
  line.words("FOLDER...", o.folders, "folders of training or test sets");
  if (with_pictures) line("image_dir", o.image_dir, "<PATH> folder of pictures, as in train and eval (default: the folder)");
  line("subset_name", o.subset_name, "<NAME> use only these sets");
  line("dataset_split", o.dataset_split,
       "<NAME> which rows of training sets: original or diverse_instruction; test: only test sets");
}

// Prints the notes on the folders to stderr.
inline void print_notes(const std::vector<DataFolder>& folders) {
  for (const DataFolder& folder : folders)
    if (!folder.note.empty()) std::cerr << folder.note << '\n';
}

}  // namespace vlm2vec
