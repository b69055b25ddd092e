// WebP through libwebp. An animation shows its first frame, on a transparent canvas.
#include <webp/decode.h>
#include <webp/demux.h>

#include <memory>

#include "vlm/image/byte_reader.h"

namespace vlm2vec {

Picture decode_webp(Bytes bytes, const std::string& name) {
  WebPBitstreamFeatures features;
  const WebPData data{bytes.data(), bytes.size()};
  const std::unique_ptr<WebPDemuxer, decltype(&WebPDemuxDelete)> file(WebPDemux(&data), WebPDemuxDelete);
  WebPIterator frame{};
  if (!file || WebPGetFeatures(bytes.data(), bytes.size(), &features) != VP8_STATUS_OK ||
      !WebPDemuxGetFrame(file.get(), 1, &frame))
    fail(Exit::data, name, ": damaged WebP: its parts do not fit together, or it is truncated");
  const uint32_t width = WebPDemuxGetI(file.get(), WEBP_FF_CANVAS_WIDTH),
                 height = WebPDemuxGetI(file.get(), WEBP_FF_CANVAS_HEIGHT);
  check_size(width, height, name);

  Picture picture;
  picture.mode = features.has_alpha ? Mode::rgba : Mode::rgb;
  Image& canvas = picture.samples = Image(int(width), int(height), features.has_alpha ? 4 : 3);
  uint8_t* to = canvas.at(frame.y_offset, frame.x_offset);
  const size_t room = size_t(canvas.pixels.data() + canvas.pixels.size() - to);
  const auto decode = features.has_alpha ? WebPDecodeRGBAInto : WebPDecodeRGBInto;
  const bool decoded =
      decode(frame.fragment.bytes, frame.fragment.size, to, room, canvas.width * canvas.channels) != nullptr;
  WebPDemuxReleaseIterator(&frame);
  if (!decoded) fail(Exit::data, name, ": damaged WebP: its pixels cannot be decoded");

  WebPChunkIterator exif{};
  if (WebPDemuxGetChunk(file.get(), "EXIF", 1, &exif))
    picture.orientation = orientation_of({exif.chunk.bytes, exif.chunk.size});
  WebPDemuxReleaseChunkIterator(&exif);

  ByteReader riff(bytes, name);
  riff.seek(4);
  const size_t end = 8 + (size_t(riff.u32()) + 1) / 2 * 2;  // chunks are padded to even sizes
  if (bytes.size() > end) picture.flaw = bytes_follow(bytes.size() - end);
  return picture;
}

}  // namespace vlm2vec
