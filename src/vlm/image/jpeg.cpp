// JPEG through libjpeg-turbo with its default settings (JDCT_ISLOW, fancy upsampling), which are Pillow's. As in
// Pillow, pictures without the bytes of their last rows are refused, corrupt data are decoded with warnings. libjpeg
// reports errors by longjmp, so the lambdas that call it hold plain values only.
#include <algorithm>
#include <csetjmp>
#include <cstdio>

#include <jpeglib.h>
// must follow jpeglib.h
#include <jerror.h>

#include "io/error.h"
#include "vlm/image/decoders.h"

namespace vlm2vec {
namespace {

constexpr int most_scans = 500;  // a progressive file has about ten; each costs a pass over the whole picture

struct Job {
  jpeg_decompress_struct jpeg{};
  jpeg_error_mgr errors{};
  jpeg_source_mgr source{};
  jpeg_progress_mgr progress{};
  jmp_buf escape;
  int fault_code = 0;
  char fault[JMSG_LENGTH_MAX] = "", warning[JMSG_LENGTH_MAX] = "";
  ~Job() { jpeg_destroy_decompress(&jpeg); }
};

Job& job_of(j_common_ptr jpeg) { return *static_cast<Job*>(jpeg->client_data); }

void on_error(j_common_ptr jpeg) {
  Job& job = job_of(jpeg);
  jpeg->err->format_message(jpeg, job.fault);
  job.fault_code = jpeg->err->msg_code;
  longjmp(job.escape, 1);
}

void on_first_warning(j_common_ptr jpeg) { jpeg->err->format_message(jpeg, job_of(jpeg).warning); }

void on_progress(j_common_ptr jpeg) {
  if (reinterpret_cast<j_decompress_ptr>(jpeg)->input_scan_number <= most_scans) return;
  std::snprintf(job_of(jpeg).fault, JMSG_LENGTH_MAX, "more than %d scans", most_scans);
  longjmp(job_of(jpeg).escape, 1);
}

void nothing(j_decompress_ptr) {}
boolean suspend(j_decompress_ptr) { return FALSE; }

void skip(j_decompress_ptr jpeg, long count) {
  const size_t step = std::min(size_t(std::max(count, 0L)), jpeg->src->bytes_in_buffer);
  jpeg->src->next_input_byte += step;
  jpeg->src->bytes_in_buffer -= step;
}

// Returns false if the library found an error, with its sentence in job.fault.
template <class Call>
bool attempt(Job& job, Call call) {
  if (setjmp(job.escape)) return false;
  call();
  return true;
}

void open(Job& job, Bytes bytes) {
  job.jpeg.err = jpeg_std_error(&job.errors);
  job.jpeg.client_data = &job;
  job.errors.error_exit = on_error;
  job.errors.output_message = on_first_warning;
  jpeg_create_decompress(&job.jpeg);
  job.progress.progress_monitor = on_progress;
  job.jpeg.progress = &job.progress;
  job.source = {bytes.data(), bytes.size(), nothing, suspend, skip, jpeg_resync_to_restart, nothing};
  job.jpeg.src = &job.source;
  jpeg_save_markers(&job.jpeg, JPEG_APP0 + 1, 0xFFFF);  // EXIF
}

// Frames of Motion JPEG lack them; the standard's example tables (ITU T.81, annex K) are assumed.
bool lacks_huffman_tables(const jpeg_decompress_struct& jpeg) {
  return !jpeg.arith_code && !jpeg.dc_huff_tbl_ptrs[0] && !jpeg.dc_huff_tbl_ptrs[1] && !jpeg.ac_huff_tbl_ptrs[0];
}

// Returns EXIF's orientation from the first marker that has it.
int stored_orientation(const jpeg_decompress_struct& jpeg) {
  for (const jpeg_marker_struct* marker = jpeg.marker_list; marker; marker = marker->next)
    if (marker->data_length >= 6 && std::equal(marker->data, marker->data + 6, "Exif\0"))
      return orientation_of({marker->data, marker->data_length});
  return 1;
}

// Returns the kind of a sound JPEG that the library does not decode; else empty.
std::string unread_process(const Job& job) {
  const int number = job.errors.msg_parm.i[0];
  switch (job.fault_code) {
    case JERR_BAD_PRECISION:
      return number == 12 || number == 16 ? std::to_string(number) + "-bit" : "";
    case JERR_ARITH_NOTIMPL:
      return "arithmetic-coded";
    case JERR_SOF_UNSUPPORTED:
      return sentence(
          number == 0xC3 || number == 0xC7 || number == 0xCB || number == 0xCF ? "lossless" : "hierarchical", " (SOF",
          number - 0xC0, ")");
    case JERR_UNKNOWN_MARKER:
      return number == 0xF7 ? "lossless (JPEG-LS)" : "";
    default:
      return "";
  }
}

Mode mode_of(int components, const std::string& name) {
  if (components == 1) return Mode::gray;
  if (components == 3) return Mode::rgb;
  if (components == 4) return Mode::cmyk;
  fail(Exit::data, name, ": a JPEG of ", components, " components; expected 1, 3 or 4");
}

}  // namespace

Picture decode_jpeg(Bytes bytes, const std::string& name) {
  Job job;
  jpeg_decompress_struct& jpeg = job.jpeg;
  const auto check = [&](bool ok) {
    if (ok) return;
    if (const std::string kind = unread_process(job); !kind.empty())
      fail(Exit::data, name, ": ", kind, " JPEG is not read; convert it to PNG or to an ordinary JPEG");
    fail(Exit::data, name, ": damaged JPEG: ", job.fault);
  };
  const auto need = [&](bool enough) {
    if (!enough)
      fail(Exit::data, name, ": the JPEG is truncated: it ends after ", bytes.size(), " bytes");
  };
  int status = JPEG_HEADER_TABLES_ONLY;
  check(attempt(job, [&] {
    open(job, bytes);
    while (status == JPEG_HEADER_TABLES_ONLY) status = jpeg_read_header(&job.jpeg, FALSE);
  }));
  need(status != JPEG_SUSPENDED);
  check_size(jpeg.image_width, jpeg.image_height, name);

  Picture picture;
  picture.mode = mode_of(jpeg.num_components, name);
  picture.orientation = stored_orientation(jpeg);
  jpeg.out_color_space = picture.mode == Mode::gray ? JCS_GRAYSCALE : picture.mode == Mode::rgb ? JCS_RGB : JCS_CMYK;
  if (lacks_huffman_tables(jpeg)) picture.flaw = "the JPEG has no Huffman tables; the standard's were assumed";
  boolean started = FALSE, finished = FALSE;
  check(attempt(job, [&] { started = jpeg_start_decompress(&job.jpeg); }));
  need(started);
  Image& samples = picture.samples = Image(int(jpeg.output_width), int(jpeg.output_height), jpeg.num_components);
  check(attempt(job, [&] {
    while (job.jpeg.output_scanline < job.jpeg.output_height) {
      JSAMPROW row = samples.at(int(job.jpeg.output_scanline), 0);
      if (jpeg_read_scanlines(&job.jpeg, &row, 1) != 1) break;
    }
  }));
  need(jpeg.output_scanline == jpeg.output_height);
  check(attempt(job, [&] { finished = jpeg_finish_decompress(&job.jpeg); }));

  if (job.errors.num_warnings > 0) picture.flaw = sentence("damaged JPEG: ", job.warning);
  else if (!finished) picture.flaw = "the JPEG has no end marker";
  else if (job.source.bytes_in_buffer > 0) picture.flaw = bytes_follow(job.source.bytes_in_buffer);
  if (picture.mode == Mode::cmyk)  // Adobe stores light instead of ink, and Pillow takes every file for Adobe's
    for (uint8_t& sample : samples.pixels) sample = uint8_t(255 - sample);
  return picture;
}

}  // namespace vlm2vec
