// A stand-in for cublasLt that computes on the host.
#pragma once
extern "C" int host_cublaslt_asked();  // how often an algorithm was asked for
