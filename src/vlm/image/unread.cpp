// Names formats that are not read, by their first bytes, so that a refusal can say what a file is.
#include <algorithm>
#include <string_view>

#include "vlm/image/decoders.h"

namespace vlm2vec {
namespace {

using namespace std::string_view_literals;

struct Signature {
  size_t at;
  std::string_view bytes;
  const char* name;
};
constexpr Signature signatures[] = {
    {4, "ftypavif"sv, "an AVIF picture"},
    {4, "ftypavis"sv, "an AVIF picture"},
    {4, "ftyphei"sv, "a HEIC picture"},
    {4, "ftyphev"sv, "a HEIC picture"},
    {4, "ftypmif1"sv, "a HEIF picture"},
    {4, "ftypmsf1"sv, "a HEIF picture"},
    {4, "ftypcrx "sv, "a camera's raw picture (CR3)"},
    {4, "ftyp"sv, "a video (MP4)"},
    {0, "II*\0"sv, "a TIFF picture or a camera's raw one"},
    {0, "MM\0*"sv, "a TIFF picture or a camera's raw one"},
    {0, "II+\0"sv, "a BigTIFF picture"},
    {0, "MM\0+"sv, "a BigTIFF picture"},
    {0, "IIRO"sv, "a camera's raw picture (ORF)"},
    {0, "IIU\0"sv, "a camera's raw picture (RW2)"},
    {0, "FUJIFILM"sv, "a camera's raw picture (RAF)"},
    {0, "II\xBC"sv, "a JPEG XR picture"},
    {0, "\0\0\0\x0CjP  \r\n\x87\n"sv, "a JPEG 2000 picture"},
    {0, "\xFF\x4F\xFF\x51"sv, "a JPEG 2000 picture"},
    {0, "\0\0\0\x0CJXL \r\n\x87\n"sv, "a JPEG XL picture"},
    {0, "\xFF\x0A"sv, "a JPEG XL picture"},
    {0, "qoif"sv, "a QOI picture"},
    {0, "\0\0\1\0"sv, "an icon (ICO)"},
    {0, "\0\0\2\0"sv, "a cursor (CUR)"},
    {0, "icns"sv, "an icon (ICNS)"},
    {0, "8BPS"sv, "a Photoshop file (PSD)"},
    {0, "gimp xcf"sv, "a GIMP file (XCF)"},
    {0, "%PDF"sv, "a PDF document"},
    {0, "%!PS"sv, "a PostScript document"},
    {0, "\xC5\xD0\xD3\xC6"sv, "a PostScript document (EPS)"},
    {0, "AT&TFORM"sv, "a DjVu document"},
    {0, "DDS "sv, "a DDS texture"},
    {0, "v/1\1"sv, "an OpenEXR picture"},
    {0, "#?RADIANCE"sv, "a Radiance HDR picture"},
    {0, "#?RGBE"sv, "a Radiance HDR picture"},
    {0, "\x0A\x05\x01"sv, "a PCX picture"},
    {0, "\x01\xDA"sv, "an SGI picture"},
    {0, "\x59\xA6\x6A\x95"sv, "a Sun raster picture"},
    {0, "\x8AMNG"sv, "an MNG animation"},
    {0, "\x8BJNG"sv, "a JNG picture"},
    {0, "FLIF"sv, "a FLIF picture"},
    {0, "BPG\xFB"sv, "a BPG picture"},
    {0, "farbfeld"sv, "a farbfeld picture"},
    {0, "P7\n"sv, "a PAM picture"},
    {0, "Pf\n"sv, "a PFM picture"},
    {0, "PF\n"sv, "a PFM picture"},
    {0, "/* XPM"sv, "an XPM picture"},
    {0, "#define "sv, "an XBM picture"},
    {0, "SIMPLE  ="sv, "a FITS picture"},
    {128, "DICM"sv, "a DICOM picture"},
    {0, "\xD7\xCD\xC6\x9A"sv, "a WMF drawing"},
    {40, " EMF"sv, "an EMF drawing"},
    {8, "AVI "sv, "a video (AVI)"},
    {0, "\x1A\x45\xDF\xA3"sv, "a video (Matroska or WebM)"},
    {0, "\0\0\1\xBA"sv, "a video (MPEG)"},
    {0, "FLV\1"sv, "a video (FLV)"},
};

}  // namespace

std::string unread_format(Bytes bytes) {
  const std::string_view text(reinterpret_cast<const char*>(bytes.data()), std::min<size_t>(bytes.size(), 4096));
  for (const Signature& s : signatures)
    if (text.size() > s.at && text.substr(s.at).starts_with(s.bytes)) return s.name;
  const bool markup = text.substr(0, 64).find('<') != text.npos;
  return markup && text.find("<svg") != text.npos ? "an SVG drawing" : "";
}

}  // namespace vlm2vec
