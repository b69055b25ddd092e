// A stand-in for cublasLt that computes on the host.
#pragma once
extern "C" int host_cublaslt_asked();  // how often an algorithm was asked for
extern "C" void host_cublaslt_refuse(bool all);  // from now on it knows an algorithm for nothing, or for all again
