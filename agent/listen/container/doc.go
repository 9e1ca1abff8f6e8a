// Package container owns what the files of Docker and Podman say of a container:
// its name and the image that it was made of. No daemon is asked: one may hang,
// and who may talk to it is root.
//
// It refuses to know which process lives in which container.
package container
